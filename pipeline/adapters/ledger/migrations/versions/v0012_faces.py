"""How many faces the images of a batch show, and how many of them show none."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

COUNTS = ["job_id", "state", "items", "indexed", "unchanged", "failed"]


def upgrade() -> None:
    # With defaults of the server: workers of the version before go on reporting for a while.
    for name in ("faces", "without_faces"):
        op.add_column("batch", sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0")))
        op.add_column(
            "job", sa.Column(f"kept_{name}", sa.BigInteger, nullable=False, server_default=sa.text("0"))
        )
    op.drop_index("batch_counts", "batch")
    op.create_index("batch_counts", "batch", [*COUNTS, "faces", "without_faces"])
