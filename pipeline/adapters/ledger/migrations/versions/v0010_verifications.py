"""Matches that persons verify, and what they decide."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

ByteText = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "verification",
        sa.Column("search_id", ByteText, primary_key=True),
        sa.Column("rank", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("candidate_id", ByteText, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("collection", ByteText, nullable=False),
        sa.Column("opened", sa.BigInteger, nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("persons_needed", sa.Integer, nullable=False),
        sa.Column("searched_by", ByteText, nullable=False),
        sa.Column("searched_for", ByteText, nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
    )
    op.create_index(
        "verification_open",
        "verification",
        ["opened", "rank"],
        sqlite_where=sa.text("is_open"),
        postgresql_where=sa.text("is_open"),
    )
    op.create_table(
        "verification_decision",
        sa.Column("search_id", ByteText, primary_key=True),
        sa.Column("rank", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("person", ByteText, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("name", "decision", "reason")),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("record_id", ByteText, nullable=False, unique=True),
        sa.Column("entry_index", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["search_id", "rank"], ["verification.search_id", "verification.rank"]),
        sa.CheckConstraint(
            "decision IN ('confirm', 'reject', 'cannot_tell')", name="verification_decision_is_known"
        ),
    )
