"""The world in memory: what `handle_embed` needs, without a service and without a model."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.ports import Deps
from pipeline.service.accountability import Accountability
from pipeline.settings import Settings
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from tests.unit.fakes import BUCKET, COLLECTION, CONCURRENCY, LIMITS, SPEC, FakeEmbedder, Signals, identity_of
from tests.unit.memory_broker import MemoryBroker
from workers.broker.publish import Publisher
from workers.process.context import Context, make_current


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
    return Deps(store=store, index=index, embedder=embedder, ledger=ledger, concurrency=CONCURRENCY)


@pytest.fixture
def log() -> MemoryAuditLog:
    return MemoryAuditLog()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the commands that a test runs, without any other setting."""
    for name in list(os.environ):
        if name.startswith(("PICTOR_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PICTOR_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Signals:
    """The signals that this process sends, and that nobody gets."""
    sent: Signals = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


@pytest.fixture
def context(
    deps: Deps,
    ledger: SqlLedger,
    broker: MemoryBroker,
    signals: Signals,  # a task may stop its worker, and that would be the parent of the tests
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Context]:
    """This process is a child of an `embed` worker, with its folder in `tmp_path`."""
    for name, value in identity_of(tmp_path, main_pid=os.getppid()).to_env().items():
        monkeypatch.setenv(name, value)
    context = Context(
        settings=Settings(),
        deps=deps,
        answers_to=Accountability(log=MemoryAuditLog(), policies=ledger.policies, index=deps.index),
        limits=LIMITS,
        publisher=Publisher(broker.app, preparation="inline"),
    )
    make_current(context)
    yield context
    make_current(None)
