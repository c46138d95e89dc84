"""Policies of collections, and the clocks of cases."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

ByteText = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "collection_policy",
        sa.Column("collection", ByteText, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("policy", sa.JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("replaces", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("loosens", "proposed_by")),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "state IN ('proposed', 'in_force', 'replaced', 'refused')", name="policy_state_is_known"
        ),
    )
    for state in ("in_force", "proposed"):
        is_the_one = sa.text(f"state = '{state}'")
        op.create_index(
            f"policy_{state}",
            "collection_policy",
            ["collection"],
            unique=True,
            sqlite_where=is_the_one,
            postgresql_where=is_the_one,
        )
    op.create_table(
        "case_clock",
        sa.Column("collection", ByteText, primary_key=True),
        sa.Column("case_ref", ByteText, primary_key=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("granted", sa.Boolean),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("authorisation", "authority", "decided_by")),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sqlite_with_rowid=False,
    )
