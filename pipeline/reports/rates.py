"""Measured error rates in an accountability report: of all persons, and of each subgroup."""

from collections.abc import Iterator, Sequence

from pipeline.evaluation.error_rates import ErrorRates, ErrorsAt, Rate, SearchErrorsAt
from pipeline.reports.report import Cell, Table

NOT_MEASURED = "Not measured. Give the file of an evaluation with --rates."
OF_RATE = ("errors", "trials", "%", "95 %")


def rates_tables(rates: ErrorRates | None) -> Sequence[Table]:
    """Tests and rates. The terms are those of ISO/IEC 19795: FPIR and FNIR of 1:N searches, FMR and FNMR of
    1:1 comparisons.
    """
    testing, searches = "(e) Testing", "(f) Error rates of searches, for all and for each subgroup"
    if rates is None:
        return (
            Table(name="testing", title=testing, columns=("fact", "value"), rows=(), about=NOT_MEASURED),
            Table(name="search_errors", title=searches, columns=("subgroup",), rows=(), about=NOT_MEASURED),
        )
    return (
        Table(name="testing", title=testing, columns=("fact", "value"), rows=_facts(rates)),
        Table(
            name="search_errors",
            title=searches,
            about="A false positive is a hit for somebody who is not in the gallery. A false negative is no "
            "right hit for somebody who is.",
            columns=("subgroup", "threshold", "error", "rank", *OF_RATE),
            rows=[*_searches("all", rates.identification.thresholds), *_of_subgroups(rates)],
        ),
        Table(
            name="comparison_errors",
            title="(f) Error rates of comparisons of two pictures",
            columns=("subgroup", "threshold", "error", *OF_RATE),
            rows=[
                *_comparisons("all", rates.verification.thresholds),
                *(
                    row
                    for group in rates.subgroups
                    for row in _comparisons(f"{group.column} {group.value}", group.verification)
                ),
            ],
        ),
    )


def _facts(rates: ErrorRates) -> Sequence[Sequence[Cell]]:
    measured, model = rates.data, rates.model
    return (
        ("measured at", rates.made_at),
        ("model", f"{model.name} ({model.fingerprint[:12]})"),
        ("measured on", measured.source),
        ("description", measured.description),
        ("persons", measured.persons),
        ("images", measured.images),
        ("images that gave no vector", measured.failed),
        ("persons who could not be enrolled", measured.persons_not_enrolled),
        *(("limit", limit) for limit in rates.limits),
    )


def _of_subgroups(rates: ErrorRates) -> Iterator[Sequence[Cell]]:
    for group in rates.subgroups:
        yield from _searches(f"{group.column} {group.value}", group.identification)


def _searches(group: str, found: Sequence[SearchErrorsAt]) -> Iterator[Sequence[Cell]]:
    for at in found:
        threshold = "none" if at.threshold is None else at.threshold
        if at.fpir is not None:
            yield group, threshold, "false positive (FPIR)", "", *_cells(at.fpir)
        for miss in at.fnir:
            yield group, threshold, "false negative (FNIR)", miss.rank, *_cells(miss.fnir)


def _comparisons(group: str, found: Sequence[ErrorsAt]) -> Iterator[Sequence[Cell]]:
    for at in found:
        yield group, at.threshold, "false match (FMR)", *_cells(at.fmr)
        yield group, at.threshold, "false non-match (FNMR)", *_cells(at.fnmr)


def _cells(rate: Rate) -> tuple[Cell, ...]:
    if rate.estimate is None or rate.low is None or rate.high is None:
        return rate.errors, rate.trials, "not measured", ""
    return (
        rate.errors,
        rate.trials,
        round(100 * rate.estimate, 4),
        f"{100 * rate.low:.4f} to {100 * rate.high:.4f}",
    )
