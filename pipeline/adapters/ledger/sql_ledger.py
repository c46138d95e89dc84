"""The ledger in SQLite or PostgreSQL.

Every method is one transaction. Each may be repeated when its answer was lost, and then finds its work done.
"""

from types import TracebackType
from typing import Self

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import (
    Transactions,
    location_of,
)
from pipeline.adapters.ledger.migrate import open_migrated
from pipeline.adapters.ledger.schema import REVISION
from pipeline.adapters.ledger.sql_batches import SqlBatches
from pipeline.adapters.ledger.sql_jobs import SqlJobs
from pipeline.adapters.ledger.sql_key_book import SqlKeyBook
from pipeline.adapters.ledger.sql_outbox import SqlOutbox
from pipeline.adapters.ledger.sql_person_book import SqlPersonBook
from pipeline.adapters.ledger.sql_plan import SqlPlan
from pipeline.adapters.ledger.sql_policy_book import SqlPolicyBook
from pipeline.adapters.ledger.sql_pruning import SqlPruning
from pipeline.adapters.ledger.sql_request_book import SqlRequestBook
from pipeline.adapters.ledger.sql_verification_book import SqlVerificationBook
from pipeline.adapters.ledger.sql_version_book import SqlVersionBook
from pipeline.adapters.ledger.sql_watch import SqlWatch
from pipeline.adapters.ledger.tls import has_tls
from pipeline.addresses import shown_tls


def open_ledger(url: str, *, ca_file: str = "") -> "SqlLedger":
    """Open the ledger at an SQLAlchemy URL.

    Args, Raises: as `open_migrated`.
    """
    return SqlLedger(open_migrated(url, ca_file=ca_file))


class SqlLedger(SqlJobs, SqlPlan, SqlBatches, SqlOutbox, SqlWatch, SqlPruning):
    """Implements `ports.Ledger`. Made by `open_ledger`. Share one between all threads of a process."""

    def __init__(self, engine: sa.Engine) -> None:
        transactions = Transactions(engine)
        super().__init__(transactions)
        self._engine = engine
        self._writer = transactions.writer
        self.book = SqlVersionBook(transactions)
        self.keys = SqlKeyBook(transactions)
        self.persons = SqlPersonBook(transactions)
        self.policies = SqlPolicyBook(transactions)
        self.verifications = SqlVerificationBook(transactions)
        self.requests = SqlRequestBook(transactions)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._engine.dispose()

    def describe(self) -> str:
        """Where it is, whether its server is verified, and the revision of its schema, for people."""
        url = self._engine.url
        server = "" if url.drivername == "sqlite" else f", {shown_tls(has_tls(url))}"
        return f"{location_of(url)}{server}, schema {REVISION}"
