"""The real servers behind the contract tests, under the names that the tests read from the environment."""

from collections.abc import Iterator, Sequence

import pytest

from tests.services import Server, exported


@pytest.fixture(scope="package", autouse=True)  # later tiers must not find other servers there
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
