"""A few interleavings with the ledger in PostgreSQL, where transactions wait for each other's rows."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adapters.ledger.migrate import migrate
from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.ports import Deps
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from tests.contract.ledger_databases import empty_database
from tests.interleavings import STAGING, Interleaved
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    CONCURRENCY,
    LIMITS,
    SPEC,
    FakeEmbedder,
    distinct_png,
    request_of,
)

FIRST_SEED, HISTORIES = 7000, 4


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    with empty_database("postgresql", tmp_path) as url:
        migrate(url)
        with open_ledger(url) as ledger:
            yield ledger


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + HISTORIES))
def test_an_interleaving_ends_with_the_newest_in_postgresql(seed: int, ledger: SqlLedger) -> None:
    store, index = MemoryStore(BUCKET, STAGING), MemoryIndex()
    index.create_collection(COLLECTION, SPEC)
    Interleaved(
        real=Deps(store=store, index=index, embedder=FakeEmbedder(), ledger=ledger, concurrency=CONCURRENCY),
        bucket=BUCKET,
        request=replace(request_of(batch_items=2), max_delete_share=1.0),
        limits=LIMITS,
        picture=distinct_png,
        put=store.put,
        rng=random.Random(seed),
    ).live()
