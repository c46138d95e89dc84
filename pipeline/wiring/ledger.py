"""The ledger: SQLite or PostgreSQL, its schema and its users."""

from typing import TYPE_CHECKING

from pipeline.settings import Settings
from pipeline.wiring.home import make_home

if TYPE_CHECKING:
    from pipeline.adapters.ledger.sql_ledger import SqlLedger


def open_ledger(settings: Settings) -> "SqlLedger":
    from pipeline.adapters.ledger.sql_ledger import open_ledger as open_sql_ledger

    make_home(settings)
    return open_sql_ledger(settings.ledger_target, ca_file=settings.ledger_ca_file)


def migrate_ledger(settings: Settings) -> str:
    """Bring the ledger's schema up to date. Returns its revision."""
    from pipeline.adapters.ledger.migrate import migrate
    from pipeline.adapters.ledger.schema import REVISION

    make_home(settings)
    migrate(settings.ledger_target, ca_file=settings.ledger_ca_file)
    return REVISION


def make_ledger_users(settings: Settings) -> dict[str, str]:
    """Make the database users that are configured. Returns their names, by whose they are."""
    from pipeline.adapters.ledger.worker_role import make_service_role, make_worker_role

    users = {
        "workers": (make_worker_role, settings.ledger_worker_url.get_secret_value()),
        "HTTP service": (make_service_role, settings.ledger_service_url.get_secret_value()),
    }
    return {
        whose: make(settings.ledger_target, url, ca_file=settings.ledger_ca_file)
        for whose, (make, url) in users.items()
        if url
    }
