"""The tables of policies and of the clocks of cases."""

import sqlalchemy as sa

from pipeline.adapters.ledger.columns import ByteText, TextTuple, UtcTime, metadata

# Policies of collections. A version's text never changes, only its state.
collection_policy = sa.Table(
    "collection_policy",
    metadata,
    sa.Column("collection", ByteText, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("policy", sa.JSON(none_as_null=True), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("replaces", sa.Integer, nullable=False),
    sa.Column("loosens", TextTuple, nullable=False),
    sa.Column("proposed_by", sa.Text, nullable=False),
    sa.Column("proposed_at", UtcTime, nullable=False),
    sa.Column("decided_by", sa.Text, nullable=False),
    sa.Column("decided_at", UtcTime),
    sa.CheckConstraint(
        "state IN ('proposed', 'in_force', 'replaced', 'refused')", name="policy_state_is_known"
    ),
)
is_in_force = collection_policy.c.state == sa.literal_column("'in_force'")
is_proposed = collection_policy.c.state == sa.literal_column("'proposed'")
sa.Index(
    "policy_in_force",
    collection_policy.c.collection,
    unique=True,
    sqlite_where=is_in_force,
    postgresql_where=is_in_force,
)
sa.Index(
    "policy_proposed",
    collection_policy.c.collection,
    unique=True,
    sqlite_where=is_proposed,
    postgresql_where=is_proposed,
)

# When the first search for a case was made, and what was decided of it since.
case_clock = sa.Table(
    "case_clock",
    metadata,
    sa.Column("collection", ByteText, primary_key=True),
    sa.Column("case_ref", ByteText, primary_key=True),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("granted", sa.Boolean),
    sa.Column("authorisation", sa.Text, nullable=False),
    sa.Column("authority", sa.Text, nullable=False),
    sa.Column("decided_by", sa.Text, nullable=False),
    sa.Column("decided_at", UtcTime),
    sqlite_with_rowid=False,
)
