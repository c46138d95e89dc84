"""The tables of persons over faces, and of the tags of collections."""

import sqlalchemy as sa

from pipeline.adapters.ledger.columns import ByteText, UtcTime, metadata

person = sa.Table(
    "person",
    metadata,
    sa.Column("collection", ByteText, primary_key=True),
    sa.Column("person_id", ByteText, primary_key=True),
    sa.Column("created_at", UtcTime, nullable=False),
)

# A face is one person's at most, so the key is the face's.
person_face = sa.Table(
    "person_face",
    metadata,
    sa.Column("collection", ByteText, primary_key=True),
    sa.Column("row_id", ByteText, primary_key=True),
    sa.Column("person_id", ByteText, nullable=False),
    sa.Column("etag", sa.Text, nullable=False),
    sa.Column("box", sa.Text, nullable=False),  # "left,top,width,height", or ""
    sa.ForeignKeyConstraint(
        ["collection", "person_id"], ["person.collection", "person.person_id"], name="face_of_person"
    ),
    sa.Index("person_face_of", "collection", "person_id", "row_id"),
)

collection_tag = sa.Table(
    "collection_tag",
    metadata,
    sa.Column("collection", ByteText, primary_key=True),
    sa.Column("key", ByteText, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
