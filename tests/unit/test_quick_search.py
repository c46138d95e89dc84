"""The quick way of `pictor search` reads a command line as the usual way does, or leaves it to that."""

from typing import Any

import pytest
import typer

from pipeline.cli.quick_search import AS_JSON, ONCE, REPEATED, read_words
from pipeline.cli.search import search

PLAIN = [
    "a.jpg",
    "a.jpg b.jpg --json",
    "a.jpg -k 5 --min-score 0.25 --collection photos",
    "--prefix p --bucket b a.jpg --metadata x=1 --metadata y=2",
    "--where {} a.jpg -k 16000",
]
NOT_PLAIN = [
    "",
    "--json",
    "--help",
    "a.jpg --help",
    "a.jpg -k",
    "a.jpg -k 0",
    "a.jpg -k 16001",
    "a.jpg -k x",
    "a.jpg -k5",
    "a.jpg --min-score 2",
    "a.jpg --min-score nan",
    "a.jpg --min-score -0.5",
    "a.jpg --prefix=p",
    "a.jpg --prefix p --prefix q",
    "a.jpg --html page.html",
    "a.jpg --model m.toml",
    "-- -a.jpg",
    "a.jpg --metadata",
]


def usual(words: list[str]) -> dict[str, Any]:
    """What the library of the command line reads."""
    alone = typer.Typer(add_completion=False)
    alone.command()(search)
    command = typer.main.get_command(alone)
    return command.make_context("search", list(words)).params


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_line_means_the_same_both_ways(line: str) -> None:
    read = read_words(line.split())
    assert read is not None
    queries, options, as_json = read
    other = usual(line.split())
    assert (queries, as_json) == (other["query"], other["as_json"])
    for name in ("collection", "k", "min_score", "prefix", "bucket", "where", "embedding"):
        assert getattr(options, name) == other[name], name
    assert list(options.metadata) == list(other["metadata"] or ())


@pytest.mark.parametrize("line", NOT_PLAIN)
def test_whatever_is_not_plain_goes_the_usual_way(line: str) -> None:
    assert read_words(line.split()) is None


# Why somebody searches. A policy is seldom in the way of a quick search
JUSTIFIED = {"--purpose", "--case", "--offence", "--authorisation", "--authority", "--on-behalf-of"}


def test_every_option_is_known_or_left_to_the_usual_way() -> None:
    alone = typer.Typer(add_completion=False)
    alone.command()(search)
    named = {
        option for param in typer.main.get_command(alone).params for option in param.opts if option[0] == "-"
    }
    elsewhere = {"--model", "--html", "--receipt", "--group-by", "--help", *JUSTIFIED}
    assert named - elsewhere == {*ONCE, *REPEATED, AS_JSON}
