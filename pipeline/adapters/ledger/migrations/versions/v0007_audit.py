"""The transparency log: entries, tiles and the signed state of the tree."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

ByteText = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "audit_entry",
        sa.Column(
            "entry_index",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("record_id", ByteText, nullable=False, unique=True),
        sa.Column("commitment", sa.LargeBinary, nullable=False),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("record", sa.LargeBinary),
        *(_text(name) for name in ("kind", "actor", "tenant", "collection")),
        *(_text(name) for name in ("purpose_code", "case_ref", "probe_sha256")),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("(salt IS NULL) = (record IS NULL)", name="audit_entry_is_whole_or_erased"),
    )
    op.create_index("audit_entry_by_actor", "audit_entry", ["actor", "entry_index"])
    op.create_index("audit_entry_by_time", "audit_entry", ["started_at"])
    for name, column in (("audit_entry_by_case", "case_ref"), ("audit_entry_by_probe", "probe_sha256")):
        is_given = sa.text(f"{column} != ''")
        op.create_index(
            name,
            "audit_entry",
            [column, "entry_index"],
            sqlite_where=is_given,
            postgresql_where=is_given,
        )
    op.create_table(
        "audit_reference",
        sa.Column("refers_to", ByteText, primary_key=True),
        sa.Column("entry_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit_tile",
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "audit_tree",
        sa.Column("vkey", ByteText, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("checkpoint", sa.Text, nullable=False),
        sa.Column("cosigned", sa.Text, nullable=False),
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, ByteText, nullable=False)
