"""The tables of the transparency log."""

import sqlalchemy as sa

from pipeline.adapters.ledger.columns import ByteText, UtcTime, metadata

# The transparency log. The tree holds the commitments; record and salt can be erased, and the rest stays.
audit_entry = sa.Table(
    "audit_entry",
    metadata,
    # An INTEGER key is SQLite's own row number, so that the rows stand in the order of the log.
    sa.Column(
        "entry_index",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("record_id", ByteText, nullable=False, unique=True),
    sa.Column("commitment", sa.LargeBinary, nullable=False),
    sa.Column("salt", sa.LargeBinary),
    sa.Column("record", sa.LargeBinary),  # RFC 8785 JSON, as it was committed to
    # Copies from the record, to find it by. Empty once it is erased.
    sa.Column("kind", ByteText, nullable=False),
    sa.Column("actor", ByteText, nullable=False),
    sa.Column("tenant", ByteText, nullable=False),
    sa.Column("collection", ByteText, nullable=False),
    sa.Column("purpose_code", ByteText, nullable=False),
    sa.Column("case_ref", ByteText, nullable=False),
    sa.Column("probe_sha256", ByteText, nullable=False),
    sa.Column("started_at", UtcTime),
    sa.CheckConstraint("(salt IS NULL) = (record IS NULL)", name="audit_entry_is_whole_or_erased"),
)
sa.Index("audit_entry_by_actor", audit_entry.c.actor, audit_entry.c.entry_index)
sa.Index("audit_entry_by_time", audit_entry.c.started_at)
has_case = audit_entry.c.case_ref != sa.literal_column("''")
sa.Index(
    "audit_entry_by_case",
    audit_entry.c.case_ref,
    audit_entry.c.entry_index,
    sqlite_where=has_case,
    postgresql_where=has_case,
)
has_probe = audit_entry.c.probe_sha256 != sa.literal_column("''")
sa.Index(
    "audit_entry_by_probe",
    audit_entry.c.probe_sha256,
    audit_entry.c.entry_index,
    sqlite_where=has_probe,
    postgresql_where=has_probe,
)

# Which entries speak of an earlier record.
audit_reference = sa.Table(
    "audit_reference",
    metadata,
    sa.Column("refers_to", ByteText, primary_key=True),
    sa.Column("entry_index", sa.BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# Full tiles. What is not full is made of the entries, and of the roots of full tiles.
audit_tile = sa.Table(
    "audit_tile",
    metadata,
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
)

# One row: the newest signed state, and the newest that witnesses have signed, too.
audit_tree = sa.Table(
    "audit_tree",
    metadata,
    sa.Column("vkey", ByteText, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("checkpoint", sa.Text, nullable=False),
    sa.Column("cosigned", sa.Text, nullable=False),
)
