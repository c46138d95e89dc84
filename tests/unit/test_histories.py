"""Whatever happens to a bucket and to those who follow it, in the end index, book and bucket are one.

The integration tier lives through hundreds more, some of them with a real S3 server.
"""

import random
from dataclasses import replace

import pytest

from pipeline.ports import Deps
from pipeline.testing.memory_store import MemoryStore
from tests.histories import World, live_through
from tests.unit.fakes import BUCKET, LIMITS, distinct_png, request_of

HISTORIES = 30


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_a_history_ends_with_index_book_and_bucket_as_one(seed: int, deps: Deps, store: MemoryStore) -> None:
    live_through(
        World(
            real=deps,
            bucket=BUCKET,
            request=replace(request_of(batch_items=2), max_delete_share=1.0),
            limits=LIMITS,
            picture=distinct_png,
            put=store.put,
            rng=random.Random(seed),
        )
    )
