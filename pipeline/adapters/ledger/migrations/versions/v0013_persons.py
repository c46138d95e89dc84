"""Persons over faces, tags of collections, and the answers of requests that may come twice."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

ByteText = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "person",
        sa.Column("collection", ByteText, primary_key=True),
        sa.Column("person_id", ByteText, primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "person_face",
        sa.Column("collection", ByteText, primary_key=True),
        sa.Column("row_id", ByteText, primary_key=True),
        sa.Column("person_id", ByteText, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("box", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["collection", "person_id"], ["person.collection", "person.person_id"], name="face_of_person"
        ),
    )
    op.create_index("person_face_of", "person_face", ["collection", "person_id", "row_id"])
    op.create_table(
        "collection_tag",
        sa.Column("collection", ByteText, primary_key=True),
        sa.Column("key", ByteText, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.add_column("api_request", sa.Column("answer", sa.Text, nullable=False, server_default=sa.text("''")))
