"""The version book, and the columns that a job needs to remove vanished objects."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BYTE_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    # With defaults of the server: planners of the version before go on making jobs for a while.
    _add_to_job("keep_missing", sa.Boolean(), sa.false())
    op.add_column("job", sa.Column("max_delete_share", sa.Double()))
    _add_to_job("retry_failed", sa.Boolean(), sa.false())
    for count in ("held", "lost", "removed"):
        _add_to_job(count, sa.BigInteger(), sa.text("0"))
    _add_to_job("removals_due", sa.Boolean(), sa.false())
    _create_version()
    op.create_table(
        "book",
        sa.Column("generation", BYTE_TEXT, primary_key=True),
        sa.Column("filled_to", BYTE_TEXT),
    )


def _add_to_job(name: str, kind: Any, default: Any) -> None:
    op.add_column("job", sa.Column(name, kind, nullable=False, server_default=default))


def _create_version() -> None:
    op.create_table(
        "version",
        sa.Column("generation", BYTE_TEXT, primary_key=True),
        sa.Column("image_id", BYTE_TEXT, primary_key=True),
        sa.Column("bucket_id", BYTE_TEXT, nullable=False),
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("key", BYTE_TEXT, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("modified_ms", sa.BigInteger),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("vectors", sa.Integer, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("missing_in", BYTE_TEXT, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('planned', 'indexed', 'nothing_found', 'failed')", name="version_state_is_known"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "version_by_key", "version", ["generation", "bucket_id", sa.text('substr("key", 1, 512)')]
    )
    op.create_index(
        "version_by_etag",
        "version",
        ["generation", "etag"],
        sqlite_where=sa.text("vectors > 0"),
        postgresql_where=sa.text("vectors > 0"),
    )
    op.create_index(
        "version_missing",
        "version",
        ["missing_in"],
        sqlite_where=sa.text("missing_in != ''"),
        postgresql_where=sa.text("missing_in != ''"),
    )
