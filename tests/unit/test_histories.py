"""Whatever happens to a bucket and to those who follow it, in the end index, book and bucket are one."""

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adapters.memory_index import MemoryIndex
from pipeline.adapters.memory_store import MemoryStore
from pipeline.adapters.sql_ledger import open_ledger
from pipeline.ports import Deps
from tests.histories import World, live_through
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, SPEC, FakeEmbedder, distinct_png, request_of

HISTORIES = 300
AT_ONCE = 20  # in one ledger, one after the other, each with a collection of its own


@pytest.mark.parametrize("first", range(0, HISTORIES, AT_ONCE))
def test_a_history_ends_with_index_book_and_bucket_as_one(
    first: int, tmp_path: Path, empty_ledger_file: Path
) -> None:
    path = shutil.copy(empty_ledger_file, tmp_path / "ledger.db")
    with open_ledger(f"sqlite:///{path}") as ledger:
        for seed in range(first, first + AT_ONCE):
            index = MemoryIndex()
            collection = f"{COLLECTION}{seed}"
            index.create_collection(collection, SPEC)
            deps = Deps(store=MemoryStore(BUCKET), index=index, embedder=FakeEmbedder(), ledger=ledger)
            request = replace(request_of(batch_items=2), collection=collection, max_delete_share=1.0)
            world = World(
                real=deps,
                bucket=BUCKET,
                request=request,
                limits=LIMITS,
                picture=distinct_png,
                rng=random.Random(seed),
            )
            try:
                live_through(world)
            except BaseException as err:
                err.add_note(f"history {seed}")
                raise
