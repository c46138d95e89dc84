"""What `pictor search` prints above the hits of a query."""

import pytest

from pipeline.cli.search_options import SearchOptions
from pipeline.cli.search_output import print_answers
from pipeline.names import MAX_SHOWN_CHARS
from tests.unit.commands import Output

LONG = "red " * 200
PATH = f"/{'folder/' * 30}a.jpg"


@pytest.mark.parametrize("answer", [{"error": "invalid_argument: too many tokens"}, {"hits": []}])
def test_words_are_cut_and_a_picture_is_named_whole(capsys: Output, answer: dict[str, object]) -> None:
    wanted = SearchOptions(collection="photos", text=[LONG], unwanted=[LONG])
    print_answers([answer | {"query": f"{LONG}; not {LONG}; {PATH}"}], [PATH], wanted, as_json=False)
    said = "".join(capsys.readouterr().err.split("\n"))
    assert f"{LONG[:MAX_SHOWN_CHARS]}…; {PATH}: ".replace(" ", "") in said.replace(" ", "")
    assert said.count("red") == MAX_SHOWN_CHARS // 4


def test_a_query_of_words_alone_or_of_a_picture_alone_is_as_it_was_typed(capsys: Output) -> None:
    answer = {"query": "?", "hits": []}
    words = SearchOptions(collection="photos", text=["red shoes"], unwanted=["snow"])
    print_answers([answer], [], words, as_json=False)
    print_answers([answer] * 2, ["a.jpg", "b.jpg"], SearchOptions(collection="photos"), as_json=False)
    titles = [line.partition(": ")[0] for line in capsys.readouterr().err.splitlines() if ": 0 hits" in line]
    assert titles == ["red shoes; not snow", "a.jpg", "b.jpg"]


def test_programs_get_the_whole_query(capsys: Output) -> None:
    wanted = SearchOptions(collection="photos", text=[LONG])
    print_answers([{"query": LONG, "hits": []}], [], wanted, as_json=True)
    assert LONG in capsys.readouterr().out
