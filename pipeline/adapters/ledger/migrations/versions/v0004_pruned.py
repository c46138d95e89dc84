"""The columns in which a job keeps the sums of its pruned batches."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # With defaults of the server: workers of the version before go on making jobs for a while.
    op.add_column("job", sa.Column("pruned_at", sa.DateTime(timezone=True)))
    for count in ("batches", "pending", "indexed", "unchanged", "failed"):
        op.add_column(
            "job", sa.Column(f"kept_{count}", sa.BigInteger, nullable=False, server_default=sa.text("0"))
        )
    op.add_column("job", sa.Column("kept_seconds", sa.JSON))
    # A batch cannot go before its failures: without this index each batch would look through all of them.
    op.create_index("failure_by_batch", "failure", ["job_id", "batch_path"])
