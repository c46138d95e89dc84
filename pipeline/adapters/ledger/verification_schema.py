"""The tables of matches that persons verify. They are a view of the log's entries, and are made of them."""

import sqlalchemy as sa

from pipeline.adapters.ledger.columns import ByteText, UtcTime, metadata

verification = sa.Table(
    "verification",
    metadata,
    sa.Column("search_id", ByteText, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("candidate_id", ByteText, nullable=False),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("collection", ByteText, nullable=False),
    sa.Column("opened", sa.BigInteger, nullable=False),  # the place of the search's entry
    sa.Column("opened_at", UtcTime, nullable=False),
    sa.Column("persons_needed", sa.Integer, nullable=False),
    sa.Column("searched_by", ByteText, nullable=False),
    sa.Column("searched_for", ByteText, nullable=False),
    # Follows from the decisions, and is here so that the queue is found without them.
    sa.Column("is_open", sa.Boolean, nullable=False),
)
is_open = verification.c.is_open == sa.true()
sa.Index(
    "verification_open",
    verification.c.opened,
    verification.c.rank,
    sqlite_where=sa.text("is_open"),
    postgresql_where=sa.text("is_open"),
)

verification_decision = sa.Table(
    "verification_decision",
    metadata,
    sa.Column("search_id", ByteText, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("person", ByteText, primary_key=True),  # as `person_key` gives it
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("record_id", ByteText, nullable=False, unique=True),  # of the entry that says so
    sa.Column("entry_index", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["search_id", "rank"], ["verification.search_id", "verification.rank"]),
    sa.CheckConstraint(
        "decision IN ('confirm', 'reject', 'cannot_tell')", name="verification_decision_is_known"
    ),
)
