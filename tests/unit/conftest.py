"""The world in memory: what `handle_message` needs, without a service and without a model."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.memory_index import MemoryIndex
from pipeline.adapters.memory_store import MemoryStore
from pipeline.adapters.sql_ledger import SqlLedger, open_ledger
from pipeline.ports import Deps
from tests.unit.fakes import BUCKET, COLLECTION, SPEC, FakeEmbedder


@pytest.fixture(scope="session")
def empty_ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once and copied for each test: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    open_ledger(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(BUCKET)


@pytest.fixture
def index() -> MemoryIndex:
    index = MemoryIndex()
    index.create_collection(COLLECTION, SPEC)
    return index


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def ledger(tmp_path: Path, empty_ledger_file: Path) -> Iterator[SqlLedger]:
    path = shutil.copy(empty_ledger_file, tmp_path / "ledger.db")
    with open_ledger(f"sqlite:///{path}") as ledger:
        yield ledger


@pytest.fixture
def deps(store: MemoryStore, index: MemoryIndex, embedder: FakeEmbedder, ledger: SqlLedger) -> Deps:
    return Deps(store=store, index=index, embedder=embedder, ledger=ledger)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the commands that a test runs, without any other setting."""
    for name in list(os.environ):
        if name.startswith(("PICTOR_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PICTOR_HOME", str(tmp_path))
    return tmp_path
