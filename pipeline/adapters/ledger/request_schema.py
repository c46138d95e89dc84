"""The table of requests that carry an Idempotency-Key."""

import sqlalchemy as sa

from pipeline.adapters.ledger.columns import ByteText, UtcTime, metadata

# Who could write these could have a request refused. A worker has no business with them.
api_request = sa.Table(
    "api_request",
    metadata,
    sa.Column("name", ByteText, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("attempt", sa.Text, nullable=False),
    sa.Column("answered", sa.Boolean, nullable=False),
    sa.Column("until", UtcTime, nullable=False),
    sa.Column(
        "answer", sa.Text, nullable=False, server_default=sa.text("''")
    ),  # given again, where it is kept
    sa.Index("api_request_until", "until"),
)
