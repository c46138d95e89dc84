"""Commands that messages, help and docs tell you to run: each is there, and is whole."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer._click.exceptions import MissingParameter, UsageError
from typer.core import TyperGroup

from pipeline.cli.app import app
from tests.conftest import REPOSITORY

PAGES = [
    *(REPOSITORY / name for name in ("README.md", "k8s/README.md", "benchmarks/README.md")),
    *sorted((REPOSITORY / "docs").glob("**/*.md")),
]
HISTORY = REPOSITORY / "docs" / "decisions"  # says what a command was called when it was decided
SOURCES = [
    path
    for folder in ("pipeline", "workers", "deploy")
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
]
NAMED = re.compile(r"`pictor (?P<quoted>[^`]+)`|: pictor (?P<last>[a-z][^`\n]*)$", re.MULTILINE)
SHELL = re.compile(r"^ {0,4}(?:\$ )?(?:[A-Z_]+=\S+ )*pictor (?P<words>.*)$", re.MULTILINE)
END = re.compile(r" (?:\||&|&>|&&|\|\||>|<|#|;).*")


def root() -> TyperGroup:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def message_error(words: str, *, whole: bool) -> str:
    """Why it cannot be run; empty when it can.

    Args:
        whole: also with all the arguments that it must have.
    """
    command: Any = root()
    context = command.make_context("pictor", ["--help"], resilient_parsing=True)
    tokens = shlex.split(words)
    while isinstance(command, TyperGroup) and not (tokens and tokens[0].startswith("-")):
        name = tokens.pop(0) if tokens else ""
        command = command.get_command(context, name)
        if command is None:
            return f"there is no command {name!r}; alone, it only prints help"
    try:
        command.make_context(command.name, tokens, parent=context)
    except MissingParameter as err:
        return err.format_message() if whole else ""
    except UsageError as err:
        return err.format_message()
    except typer.Exit:  # --help, --version
        return ""
    return ""


def texts_of(source: Path) -> Iterator[str]:
    """The strings of a module, which are what it prints. A value that is put in is one word."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner | docs:
            yield node.value


def named_in(text: str) -> list[str]:
    return [(match["quoted"] or match["last"]).strip() for match in NAMED.finditer(text)]


def help_texts(command: Any) -> Iterator[str]:
    yield from filter(None, (command.help, command.epilog))
    yield from filter(None, (getattr(parameter, "help", "") for parameter in command.params))
    for inner in getattr(command, "commands", {}).values():
        yield from help_texts(inner)


@pytest.mark.parametrize(
    ("words", "whole", "fault"),
    [
        ("collections", False, "there is no command ''"),
        ("collections lst", False, "there is no command 'lst'"),
        ("ingest", True, "Missing"),
        ("ingest", False, ""),
        ("ingest FOLDER", True, ""),
        ("ingest FOLDER --colection x", False, "No such option"),
        ("jobs list --limit 0", True, "Invalid value for '--limit'"),
        ("--version", True, ""),
    ],
)
def test_the_check_finds_what_is_wrong(words: str, whole: bool, fault: str) -> None:
    found = message_error(words, whole=whole)
    assert fault in found
    assert bool(found) == bool(fault)


def test_a_message_names_commands_that_can_be_run_as_they_stand() -> None:
    named = {(path.name, words) for path in SOURCES for text in texts_of(path) for words in named_in(text)}
    assert len(named) > 10
    assert {place: fault for place in named if (fault := message_error(place[1], whole=True))} == {}


def test_help_names_commands_that_are_there() -> None:
    named = {words for text in help_texts(root()) for words in named_in(text)}
    assert named
    assert {words: fault for words in named if (fault := message_error(words, whole=True))} == {}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if HISTORY not in page.parents], ids=lambda page: page.name
)
def test_a_page_names_commands_that_are_there_and_shows_whole_ones(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = [END.sub("", f"{words} ") for words in SHELL.findall(text)]
    assert {words: fault for words in shown if (fault := message_error(words, whole=True))} == {}
    named = [each for words in named_in(text) for each in alternatives(words)]
    assert {words: fault for words in named if (fault := message_error(words, whole=False))} == {}


def alternatives(words: str) -> Iterator[str]:
    """`jobs pause|resume` is two commands; `COMMAND --help` is any."""
    for word in next((part for part in words.split() if "|" in part), "").split("|"):
        each = re.sub(r"\S*\|\S*", word, words)
        if not each.startswith("COMMAND"):
            yield re.sub(r"\[(\w+)\]", r"\1", each)
