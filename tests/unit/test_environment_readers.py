"""Who may read or write the environment: one module of settings, one of identity, and who needs it whole."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

ALLOWED = {
    "pipeline/settings/__init__.py": "every setting is read there, once",
    "pipeline/client_settings.py": "what a client of the service needs, before there is time for pydantic",
    "workers/identity.py": "what a worker's main process tells its children",
    "pipeline/cli/output.py": "TERM says whether a terminal obeys codes, as for every program",
    "pipeline/cli/demo.py": "the commands that it shows run in the user's environment, without our variables",
}
_NAMES = frozenset({"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"})


def uses_of_environment(source: str) -> Iterator[int]:
    """Lines that name the environment of `os`, however it was imported."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in _NAMES:
                yield node.lineno
            case ast.ImportFrom(module="os", names=names) if _NAMES & {alias.name for alias in names}:
                yield node.lineno
            case ast.Import(names=names) if any(alias.name == "os" and alias.asname for alias in names):
                yield node.lineno  # under another name, which the first case would not see


def modules() -> list[Path]:
    return [path for package in ("pipeline", "workers") for path in (REPOSITORY / package).rglob("*.py")]


def test_no_other_module_touches_the_environment() -> None:
    found = {
        str(path.relative_to(REPOSITORY)): lines
        for path in modules()
        if (lines := list(uses_of_environment(path.read_text(encoding="utf-8"))))
    }
    assert found.keys() - ALLOWED.keys() == set(), found
    assert ALLOWED.keys() - found.keys() == set(), "no longer needed in the list"


@pytest.mark.parametrize(
    "line",
    [
        "os.environ['PICTOR_DEVICE'] = 'cpu'",
        "os.getenv('HOME')",
        "from os import environ",
        "from os import path, getenv as read",
        "import os as system",
    ],
)
def test_each_way_to_the_environment_is_seen(line: str) -> None:
    assert list(uses_of_environment(f"import os\n{line}\n")) == [2]


@pytest.mark.parametrize("line", ["os.path.join('a', 'b')", "import os.path", "environ = {}", "x.environ"])
def test_nothing_else_is_taken_for_it(line: str) -> None:
    assert list(uses_of_environment(f"import os\n{line}\n")) == []
