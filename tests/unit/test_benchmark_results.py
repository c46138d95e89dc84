"""What the benchmark writes and how it is judged."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.figures import Figure, Machine, Result, ResultError, read_result, read_results, write_result
from benchmarks.marks import MARKS, Mark, Verdict, judge
from benchmarks.part import RESULTS
from benchmarks.parts import PARTS
from benchmarks.render import PAGE, render
from benchmarks.rounds import interleave, ratio

MACHINE = Machine(
    cpu="test", cores=2, memory_bytes=2**34, gpu="", native_bfloat16=True, versions={"torch": "2.14.1"}
)
SPEED = Figure(name="speed", unit="images/s", rounds=(40.0, 44.0, 41.0))
RESULT = Result(
    part="end_to_end",
    made_at="2026-11-25T12:00:00+00:00",
    seconds=12.5,
    quick=False,
    machine=MACHINE,
    figures=(SPEED, Figure(name="gpu", unit="images/s", missing="not measured: no GPU at hand")),
    notes=("462 photographs",),
)
AT_LEAST_41 = Mark(part="end_to_end", figure="speed", at_least=41)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = write_result(RESULT, tmp_path)
    assert read_result(file) == RESULT
    assert read_results(tmp_path) == {"end_to_end": RESULT}


@pytest.mark.parametrize("damage", ["figures", "machine", "part"])
def test_a_file_without_a_field_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    file = write_result(RESULT, tmp_path)
    fields = json.loads(file.read_text())
    del fields[damage]
    file.write_text(json.dumps(fields))
    with pytest.raises(ResultError, match=r"end_to_end\.json"):
        read_result(file)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"rounds": (1.0,), "missing": "both"}, {"rounds": (float("nan"),)}],
    ids=["none", "both", "nan"],
)
def test_a_figure_has_finite_rounds_or_says_why_not(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="speed"):
        Figure(name="speed", unit="images/s", **wrong)  # type: ignore[arg-type]


def test_contestants_take_turns_and_nobody_is_always_first() -> None:
    turns: list[str] = []
    told: list[str] = []

    def contestant(name: str) -> Callable[[], float]:
        def take_turn() -> float:
            turns.append(name)
            return float(len(turns))

        return take_turn

    measured = interleave({name: contestant(name) for name in "abc"}, 2, told.append, str)
    assert turns == ["a", "b", "c", "b", "c", "a"]
    assert len(told) == len(turns)
    assert measured == {"a": [1.0, 6.0], "b": [2.0, 4.0], "c": [3.0, 5.0]}


def test_a_ratio_is_taken_within_each_round() -> None:
    assert ratio("ours ÷ theirs", [10.0, 40.0], [5.0, 10.0]).rounds == (2.0, 4.0)


@pytest.mark.parametrize(
    ("mark", "result", "verdict"),
    [
        (AT_LEAST_41, RESULT, Verdict.MET),
        (dataclasses.replace(AT_LEAST_41, at_least=41.1), RESULT, Verdict.MISSED),
        (dataclasses.replace(AT_LEAST_41, at_least=None, at_most=41), RESULT, Verdict.MET),
        (dataclasses.replace(AT_LEAST_41, at_least=None, at_most=40.9), RESULT, Verdict.MISSED),
        (dataclasses.replace(AT_LEAST_41, figure="gpu"), RESULT, Verdict.NOT_MEASURED),
        (dataclasses.replace(AT_LEAST_41, figure="other"), RESULT, Verdict.NOT_MEASURED),
        (AT_LEAST_41, dataclasses.replace(RESULT, quick=True), Verdict.SMOKE),
        (AT_LEAST_41, dataclasses.replace(RESULT, failure="it broke", figures=()), Verdict.FAILED),
    ],
)
def test_only_the_median_of_a_measurement_meets_a_mark(mark: Mark, result: Result, verdict: Verdict) -> None:
    assert judge(mark, result) is verdict


def test_every_mark_belongs_to_a_part() -> None:
    assert {mark.part for mark in MARKS} == set(PARTS)


def test_the_page_shows_figure_spread_and_verdict() -> None:
    mark = next(mark for mark in MARKS if mark.figure == "distributed, inline ÷ embedded")
    figure = Figure(name=mark.figure, unit="ratio", rounds=(0.9, 0.8, 0.95))
    page = render({"end_to_end": dataclasses.replace(RESULT, figures=(figure,))})
    assert (
        "| end_to_end | distributed, inline ÷ embedded | ratio | 0.9 | 0.8 – 0.95 | 3 | ≥ 0.88 | met |"
        in page
    )
    assert "2026-11-25T12:00:00+00:00" in page
    assert "torch 2.14.1" in page


def test_the_page_says_of_a_failed_part_that_it_failed() -> None:
    page = render(
        {"search": dataclasses.replace(RESULT, part="search", failure="Milvus went away", figures=())}
    )
    assert "**Failed: Milvus went away**" in page
    assert "| search | recall@10 against brute force |  |  |  |  | ≥ 0.99 | part failed |" in page


def test_the_page_in_the_repository_is_what_the_results_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(read_results(RESULTS))


def test_no_result_in_the_repository_is_from_a_quick_run() -> None:
    assert not [part for part, result in read_results(RESULTS).items() if result.quick]
