"""Alembic's folder. `ledger_migrate` runs it; there is no alembic.ini.

A new revision is a new file in `versions/`: copy the newest one and set `revision`, `down_revision` and
`ledger_schema.REVISION`. Numbers grow. It spells its columns out and imports nothing from `ledger_schema`,
which goes on changing.
"""
