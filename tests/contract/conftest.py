"""The real servers behind the contract tests, under the names that the tests read from the environment."""

from collections.abc import Iterator, Sequence
from uuid import uuid4

import pytest

from pipeline.adapters.beside.index import BesideIndex
from pipeline.adapters.ledger.migrate import migrate
from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.adapters.milvus.index import MilvusIndex
from pipeline.ports import VectorIndex
from pipeline.search.gathered_index import GatheredIndex
from pipeline.service.confined import ConfinedIndex, Scope
from pipeline.testing.memory_index import MemoryIndex
from pipeline.types import CollectionRef
from tests.contract.indexes import model, open_index, open_server
from tests.contract.ledger_databases import KINDS, empty_database, empty_tables
from tests.services import Server, exported


# Of a module: a folder without `__init__.py` is no package, and later tiers would find the servers.
@pytest.fixture(scope="module", autouse=True)
def servers_in_the_environment(request: pytest.FixtureRequest) -> Iterator[Sequence[Server]]:
    """A server that cannot be had skips only its own tests; in CI it fails here, at once."""
    servers: list[Server] = []
    for name in ("s3_server", "milvus_server", "postgres"):
        try:
            servers.append(request.getfixturevalue(name))
        except pytest.skip.Exception:
            continue
    with exported(*servers):
        yield servers


@pytest.fixture(scope="module", autouse=True)
def servers_answer(servers_in_the_environment: Sequence[Server]) -> None:
    """Also after a file whose tests stopped one, or a machine that stood still."""
    for server in servers_in_the_environment:
        server.recover()


@pytest.fixture(scope="module", params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database with the tables of a ledger."""
    with empty_database(request.param, tmp_path_factory.mktemp("ledger")) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="module", params=["memory", *KINDS])
def memory_or_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a database with the tables of a ledger, or "" for the fake."""
    if request.param == "memory":
        yield ""
        return
    with empty_database(request.param, tmp_path_factory.mktemp("ledger")) as url:
        migrate(url)
        yield url


@pytest.fixture
def ledger(database: str) -> Iterator[SqlLedger]:
    """Without a row."""
    empty_tables(database)
    with open_ledger(database) as ledger:
        yield ledger


@pytest.fixture(scope="module", params=["memory", "of a tenant", "folder", "server"])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorIndex]:
    if request.param == "memory":
        yield MemoryIndex()
        return
    if request.param == "of a tenant":
        gathered = GatheredIndex(BesideIndex(MemoryIndex()))  # as in the service
        yield ConfinedIndex(gathered, Scope(who="ann", tenant="acme", collections=("*",)))
        return
    with open_index(request.param, tmp_path_factory) as index:
        yield index


@pytest.fixture(scope="module", params=["lite", "server"])
def milvus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusIndex]:
    lite = request.param == "lite"
    with MilvusIndex(str(tmp_path_factory.mktemp("lite") / "milvus.db")) if lite else open_server() as index:
        yield index


@pytest.fixture
def ref(index: VectorIndex) -> Iterator[CollectionRef]:
    """An empty collection of its own for each test."""
    name = f"t_{uuid4().hex[:12]}"
    yield index.create_collection(name, model()).ref
    if index.get_collection(name):
        index.drop_collection(name)
