"""Keys of the HTTP service, and who has signed in with one."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

BYTE_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("key_id", BYTE_TEXT, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("tenant", BYTE_TEXT, nullable=False),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("collections", sa.Text, nullable=False),
        sa.Column("buckets", sa.Text, nullable=False),
        sa.Column("acts_for_others", sa.Boolean, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires_at", TIME),
        sa.Column("revoked_at", TIME),
        sa.Column("last_used_at", TIME),
        sa.Column("replaces", sa.Text, nullable=False),
    )
    op.create_table(
        "api_session",
        sa.Column("digest", BYTE_TEXT, primary_key=True),
        sa.Column(
            "key_id", BYTE_TEXT, sa.ForeignKey("api_key.key_id", name="session_of_key"), nullable=False
        ),
        sa.Column("expires_at", TIME, nullable=False),
    )
