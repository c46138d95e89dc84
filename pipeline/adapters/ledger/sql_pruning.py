"""Old jobs: their batches and failures go, and their counts stay."""

from datetime import timedelta

from pipeline.adapters.ledger.engine import InTransactions
from pipeline.adapters.ledger.pruning import count_prunable, find_prunable, prune_page
from pipeline.types import Prunable, Pruned


class SqlPruning(InTransactions):
    """Part of `SqlLedger`."""

    def find_prunable(self, older_than: timedelta) -> list[Prunable]:
        return self._read(lambda connection: find_prunable(connection, older_than))

    def count_prunable(self, found: Prunable) -> Pruned:
        return self._read(lambda connection: count_prunable(connection, found))

    def prune_page(self, found: Prunable) -> Pruned:
        return self._write(lambda connection: prune_page(connection, found))
