"""Which knowledge of an object is newer: numbers of plans and removals, and what was taken out on purpose."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # With defaults of the server: planners and workers of the version before go on for a while. What they
    # write is the oldest of all, and so is what was there before.
    for table in ("version", "batch", "book"):
        op.add_column(
            table, sa.Column("sequence", sa.BigInteger, nullable=False, server_default=sa.text("0"))
        )
    op.add_column("version", sa.Column("removed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index(
        "version_removed",
        "version",
        ["generation"],
        sqlite_where=sa.text("removed"),
        postgresql_where=sa.text("removed"),
    )
    op.add_column("job", sa.Column("removing", sa.Text, nullable=False, server_default=""))


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
