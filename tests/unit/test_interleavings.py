"""Whoever is late: index, book and bucket end with the newest version, and what was removed stays out."""

import random
from dataclasses import replace

import pytest

from pipeline.ports import Deps
from pipeline.testing.memory_store import MemoryStore
from tests.interleavings import STAGING, Interleaved
from tests.unit.fakes import BUCKET, LIMITS, distinct_png, request_of

HISTORIES = 40  # hundreds more when one is suspected: each seed is a history of its own


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(BUCKET, STAGING)


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_an_interleaving_ends_with_the_newest(seed: int, deps: Deps, store: MemoryStore) -> None:
    Interleaved(
        real=deps,
        bucket=BUCKET,
        request=replace(request_of(batch_items=2), max_delete_share=1.0),
        limits=LIMITS,
        picture=distinct_png,
        put=store.put,
        rng=random.Random(seed),
    ).live()
