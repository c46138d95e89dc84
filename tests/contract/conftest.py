"""The real servers behind the contract tests, under the names that the tests read from the environment."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import uuid4

import pytest

from pipeline.adapters.beside.index import BesideIndex
from pipeline.adapters.ledger.migrate import migrate
from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.adapters.milvus.index import MilvusIndex
from pipeline.errors import PictorError
from pipeline.ports import VectorIndex
from pipeline.search.gathered_index import GatheredIndex
from pipeline.service.confined import ConfinedIndex, Scope
from pipeline.testing.memory_index import MemoryIndex
from pipeline.types import CollectionRef
from tests.contract.indexes import model, open_index, open_server
from tests.contract.ledger_databases import KINDS, empty_database, empty_tables
from tests.services import Server, exported

SPARES = 3  # a test takes about a second


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


class SpareCollections:
    """Empty collections of a server, which takes three seconds for one: they are made while tests run.

    Each is made through a connection of its own, as another process would, since one makes them in turn.
    """

    def __init__(self, makers: Sequence[VectorIndex]) -> None:
        self._pool = ThreadPoolExecutor(len(makers))
        self._spares = deque((maker, self._pool.submit(new_collection, maker)) for maker in makers)

    def take(self) -> CollectionRef:
        maker, spare = self._spares.popleft()
        try:
            ref = spare.result()
        except PictorError:  # the test before had stopped the server
            ref = new_collection(maker)
        self._spares.append((maker, self._pool.submit(new_collection, maker)))
        return ref

    def close(self) -> None:
        self._pool.shutdown()
        for maker, spare in self._spares:
            if spare.exception() is None:
                maker.drop_collection(spare.result().name)


def new_collection(index: VectorIndex) -> CollectionRef:
    return index.create_collection(f"t_{uuid4().hex[:12]}", model()).ref


@pytest.fixture(scope="module")
def spare_collections(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpareCollections]:
    with ExitStack() as stack:
        spares = SpareCollections(
            [stack.enter_context(open_index("server", tmp_path_factory)) for _ in range(SPARES)]
        )
        yield spares
        spares.close()


@pytest.fixture
def ref(index: VectorIndex, request: pytest.FixtureRequest) -> Iterator[CollectionRef]:
    """An empty collection of its own for each test."""
    if request.node.callspec.params["index"] == "server":
        ref = request.getfixturevalue("spare_collections").take()
    else:
        ref = new_collection(index)
    yield ref
    if index.get_collection(ref.name):
        index.drop_collection(ref.name)
