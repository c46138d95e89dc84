"""Jobs, their batches and their failures."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BYTE_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_job()
    _create_batch()
    _create_failure()


def _create_job() -> None:
    op.create_table(
        "job",
        sa.Column("job_id", BYTE_TEXT, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("collection", sa.Text, nullable=False),
        sa.Column("model_name", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("include", sa.Text, nullable=False),
        sa.Column("exclude", sa.Text, nullable=False),
        sa.Column("batch_items", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("planned", sa.Boolean, nullable=False),
        sa.Column("cursor", sa.Text),
        sa.Column("planned_batches", sa.Integer, nullable=False),
        sa.Column("ignored", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("finished_at", TIME),
        sa.Column("plan_step", sa.Integer, nullable=False),
        sa.Column("plan_nonce", sa.Text, nullable=False),
        sa.Column("stepped_at", TIME),
        sa.CheckConstraint(
            "state IN ('running', 'paused', 'cancelled', 'completed', 'failed')", name="job_state_is_known"
        ),
    )
    _create_partial_index("job_running", "job", ["created_at"], "state = 'running'")


def _create_batch() -> None:
    op.create_table(
        "batch",
        sa.Column("job_id", BYTE_TEXT, sa.ForeignKey("job.job_id", name="batch_of_job"), primary_key=True),
        sa.Column("path", BYTE_TEXT, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("items", sa.Integer, nullable=False),
        sa.Column("indexed", sa.Integer, nullable=False),
        sa.Column("unchanged", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("published_at", TIME),
        sa.Column("reported_at", TIME),
        sa.Column("seconds", sa.JSON),
        sa.Column("body", sa.LargeBinary),
        sa.CheckConstraint("state IN ('pending', 'done', 'split')", name="batch_state_is_known"),
        sa.CheckConstraint(
            "items >= 0 AND indexed >= 0 AND unchanged >= 0 AND failed >= 0", name="batch_counts_not_negative"
        ),
        sa.CheckConstraint(
            "state <> 'done' OR items = indexed + unchanged + failed", name="batch_done_adds_up"
        ),
        sa.CheckConstraint(
            "state = 'done' OR indexed + unchanged + failed = 0", name="batch_counts_when_done"
        ),
        sa.CheckConstraint("(state = 'pending') = (body IS NOT NULL)", name="batch_body_while_pending"),
    )
    _create_partial_index("batch_pending", "batch", ["job_id", "path"], "state = 'pending'")
    op.create_index("batch_counts", "batch", ["job_id", "state", "items", "indexed", "unchanged", "failed"])


def _create_failure() -> None:
    op.create_table(
        "failure",
        sa.Column("job_id", BYTE_TEXT, primary_key=True),
        sa.Column("image_id", BYTE_TEXT, primary_key=True),
        sa.Column("batch_path", BYTE_TEXT, nullable=False),
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("key", BYTE_TEXT, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id", "batch_path"], ["batch.job_id", "batch.path"], name="failure_of_batch"
        ),
    )


def _create_partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
