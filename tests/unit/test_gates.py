"""Who may call what, where a rule of imports cannot say it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import REPOSITORY

GATE = "pipeline/service/search.py"  # access, policy and record of every search stand there
OTHERS = {
    "pipeline/adapters/beside/index.py",  # the port itself, in front of another one
    "pipeline/service/confined/index.py",  # the port itself, as one tenant sees it. Its caller is the gate
    "pipeline/mcp/tools.py",  # asks the service over HTTP, which asks the gate
}


def searches_of_an_index(source: str) -> Iterator[int]:
    """Lines that call `search` of a vector index: the port's `k` can only be given by name."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="search"), keywords=keywords):
                if any(keyword.arg in ("k", None) for keyword in keywords):
                    yield node.lineno


def sources() -> Iterator[Path]:
    for package in ("pipeline", "workers"):
        yield from sorted((REPOSITORY / package).rglob("*.py"))


def test_every_search_of_an_index_passes_one_gate() -> None:
    callers = {
        str(path.relative_to(REPOSITORY)) for path in sources() if any(searches_of_an_index(path.read_text()))
    }
    assert callers == {GATE, *OTHERS}


def test_a_search_beside_the_gate_would_be_found() -> None:
    assert list(searches_of_an_index("hits = deps.index.search(name, vectors, k=5)\n")) == [1]
    assert list(searches_of_an_index("\nports.search(name, vectors, **how)\n")) == [2]
    assert list(searches_of_an_index("PATTERN.search(text)\n")) == []
