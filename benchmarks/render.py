"""benchmarks/README.md from the results: `python -m benchmarks.render`. Nothing in it is typed by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figures import Figure, Machine, Result, read_results
from benchmarks.marks import MARKS, Mark, Verdict, judge
from benchmarks.part import RESULTS, tell
from benchmarks.parts import PARTS

PAGE = Path(__file__).with_name("README.md")

HEAD = """\
# Benchmarks

<!-- Made by `python -m benchmarks.render` from results/*.json; do not edit. -->

`make bench` measures everything, under 15 minutes on two cores: services, workers, competitors, and writes
`results/*.json` and this page. `python -m benchmarks.PART` measures one part; `--quick` shows in a minute or
two that its script works, and measures nothing. `python -m benchmarks.gpu` runs alone on a CUDA machine, from
a checkout, without network or servers.

Contestants take turns, several rounds; a ratio is taken round by round, within one run. Given are the median
and, as spread, the lowest and the highest round. Figures of different machines are not to be compared; ratios
are. “Mark” is what the project means to reach, compared with the median; marks of a part that was not run are
listed all the same.
"""
TABLE_HEAD = (
    "| part | figure | unit | median | spread | rounds | mark | met |\n|---|---|---|---:|---|---:|---|---|\n"
)


NO_NUMBERS = ("", "", "")


def render(results: Mapping[str, Result]) -> str:
    """The page. Args: `results` by part; a part without one is said to be not measured."""
    runs = "".join(_run_lines(part, results.get(part)) for part in PARTS)
    rows = "".join(_rows(part, results.get(part)) for part in PARTS)
    return f"{HEAD}\n## Runs\n\n{runs}\n## Results\n\n{TABLE_HEAD}{rows}"


def _run_lines(part: str, result: Result | None) -> str:
    if result is None:
        return f"- **{part}**: not measured\n"
    kind = " **Smoke run: its figures are no measurements.**" if result.quick else ""
    failure = f" **Failed: {result.failure}**" if result.failure else ""
    when = f"{result.made_at}, {result.seconds:.0f} s"
    first = f"- **{part}**: {when}, {_machine_text(result.machine)}.{kind}{failure}\n"
    return first + "".join(f"  - {note}\n" for note in result.notes)


def _machine_text(machine: Machine) -> str:
    gpu = machine.gpu or "no GPU"
    versions = ", ".join(f"{name} {text}" for name, text in sorted(machine.versions.items()))
    bfloat16 = "" if machine.native_bfloat16 else "no "
    return (
        f"{machine.cpu}, {machine.cores} cores ({bfloat16}native bfloat16), "
        f"{machine.memory_bytes / 2**30:.0f} GiB, {gpu}; {versions}"
    )


def _rows(part: str, result: Result | None) -> str:
    marks = {mark.figure: mark for mark in MARKS if mark.part == part}
    if result is None or result.failure:
        verdict = Verdict.FAILED if result else Verdict.NOT_MEASURED
        return "".join(_row(part, name, "", NO_NUMBERS, mark.text, verdict) for name, mark in marks.items())
    return "".join(_figure_row(result, figure, marks.get(figure.name)) for figure in result.figures)


def _figure_row(result: Result, figure: Figure, mark: Mark | None) -> str:
    if figure.missing:
        numbers = [figure.missing, "", ""]
    else:
        spread = f"{number_text(min(figure.rounds))} – {number_text(max(figure.rounds))}"
        numbers = [
            number_text(figure.median),
            spread if len(figure.rounds) > 1 else "",
            str(len(figure.rounds)),
        ]
    verdict = judge(mark, result).value if mark else ""
    return _row(result.part, figure.name, figure.unit, numbers, mark.text if mark else "", verdict)


def _row(part: str, name: str, unit: str, numbers: Sequence[str], mark: str, verdict: str) -> str:
    return f"| {' | '.join([part, name, unit, *numbers, mark, verdict])} |\n"


def number_text(value: float) -> str:
    """Three digits that count, and all of a whole number."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> None:
    PAGE.write_text(render(read_results(RESULTS)), encoding="utf-8")
    tell(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
