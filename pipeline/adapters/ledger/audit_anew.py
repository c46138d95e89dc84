"""Begin another log in the place of the one that is there (decision 0164)."""

from collections.abc import Sequence

import sqlalchemy as sa

from pipeline.adapters.ledger.audit_rows import NewEntry
from pipeline.adapters.ledger.audit_schema import audit_entry, audit_reference, audit_tile, audit_tree
from pipeline.adapters.ledger.audit_tree_rows import lock_tree
from pipeline.adapters.ledger.audit_writer import AuditWriter
from pipeline.adapters.ledger.verification_schema import verification, verification_decision
from pipeline.types.audit import AuditReceipt

# A match is of a search of the old log. A table comes before those that it refers to.
LOG_TABLES = (
    verification_decision,
    verification,
    audit_reference,
    audit_entry,
    audit_tile,
    audit_tree,
)


def begin_anew(
    connection: sa.Connection, writer: AuditWriter, first: Sequence[NewEntry]
) -> list[AuditReceipt]:
    """Empty the log and append the first entries of another. Inside a transaction."""
    lock_tree(connection)
    for table in LOG_TABLES:
        connection.execute(table.delete())
    return writer.write(connection, lambda: first)
