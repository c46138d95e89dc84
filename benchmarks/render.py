"""benchmarks/README.md, and the figures in README.md, from the results: `python -m benchmarks.render`.

Nothing in them is typed by hand.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figures import Figure, Machine, Result, read_results
from benchmarks.marks import MARKS, Mark, Verdict, judge
from benchmarks.part import RESULTS, tell
from benchmarks.parts import PARTS

PAGE = Path(__file__).with_name("README.md")
README = PAGE.parent.parent / "README.md"
README_BEGIN = (
    "<!-- figures: made by `python -m benchmarks.render` from benchmarks/results; do not edit -->\n"
)
README_END = "<!-- end of figures -->\n"
# Who is compared in README.md, in this order: the name there, and the figure of the part end_to_end.
COMPARED = (
    ("Pictor, bfloat16", "embedded, bfloat16"),
    ("Pictor, float32", "embedded, float32"),
    ("Pictor on workers, float32", "distributed, inline"),
    ("Daft", "Daft"),
    ("a plain loop with Pillow", "plain loop (Pillow)"),
    ("Ray Data", "Ray Data"),
)

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


def with_figures(readme: str, end_to_end: Result) -> str:
    """README.md with the figures of this result between its two marks; as it is when there are none."""
    if end_to_end.failure or end_to_end.quick:
        return readme
    before, _, rest = readme.partition(README_BEGIN)
    _, _, after = rest.partition(README_END)
    return f"{before}{README_BEGIN}{_comparison(end_to_end)}{README_END}{after}"


def _comparison(result: Result) -> str:
    medians = {figure.name: figure.median for figure in result.figures if not figure.missing}
    rows = "".join(f"| {name} | {number_text(medians[figure])} |\n" for name, figure in COMPARED)
    machine = f"{result.machine.cpu}, {result.machine.cores} cores, {result.machine.gpu or 'no GPU'}"
    return (
        f"Measured on {result.made_at[:10]} ({machine}): 462 photographs,\n"
        "ResNet-18, from the moment the model is ready. "
        "[All results](benchmarks/README.md) say how.\n\n"
        f"| | images/s |\n|---|---:|\n{rows}"
    )


def number_text(value: float) -> str:
    """Three digits that count, and all of a whole number."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> None:
    results = read_results(RESULTS)
    PAGE.write_text(render(results), encoding="utf-8")
    README.write_text(
        with_figures(README.read_text(encoding="utf-8"), results["end_to_end"]), encoding="utf-8"
    )
    tell(f"wrote {PAGE} and the figures of {README}")


if __name__ == "__main__":
    main()
