"""Alembic runs this file; `ledger_migrate` gives it the connection, already in a locked transaction."""

from alembic import context

from pipeline.adapters.ledger.migrate import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
