"""Commands that messages tell the user to run are there, and do more than print their help."""

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from pipeline.cli.app import app
from tests.unit.test_gates import sources

_HINT = re.compile(r"`pictor((?: [a-z]+)+)")


def texts_of(source: str) -> Iterator[str]:
    """Every string but docstrings, which speak of groups of commands, too."""
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def hints() -> set[str]:
    found = {
        match.group(1).strip()
        for path in sources()
        for text in texts_of(path.read_text())
        for match in _HINT.finditer(text)
    }
    assert len(found) > 5, "the pattern finds nothing any more"
    return found


def is_command(words: str) -> bool:
    """What follows a command are its arguments."""
    command: Any = typer.main.get_command(app)  # Typer brings a Click of its own
    for word in words.split():
        commands = getattr(command, "commands", None)
        if commands is None:
            return True
        if word not in commands:
            return False
        command = commands[word]
    return not hasattr(command, "commands")


@pytest.mark.parametrize("hint", sorted(hints()))
def test_a_command_that_a_message_names_can_be_run(hint: str) -> None:
    assert is_command(hint)


def test_a_group_and_a_command_that_is_not_there_are_no_hints() -> None:
    assert [is_command(words) for words in ("jobs", "jobs list", "jobs lost", "scan", "ingest all")] == [
        False,
        True,
        False,
        False,
        True,
    ]
