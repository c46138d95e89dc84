"""Measured error rates, as `pictor evaluate` writes them: counts, from which rates and intervals follow."""

import json
from collections.abc import Sequence
from math import sqrt
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import ArgumentError
from pipeline.reports.report import Cell, Table

Z_95 = 1.959964  # of the normal distribution, two-sided
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
COLUMNS = (
    "group", "unmated searches", "false positives", "FPIR %", "FPIR 95 %", "mated searches",
    "false negatives", "FNIR %", "FNIR 95 %",
)  # fmt: skip


class Group(BaseModel):
    """Counts of one group of persons, or of "all"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    unmated_searches: Count  # of pictures whose person is not in the reference database
    false_positives: Count  # of them, those with a hit at the threshold
    mated_searches: Count  # of pictures whose person is in it
    false_negatives: Count  # of them, those without the right hit at the threshold

    @model_validator(mode="after")
    def _no_more_errors_than_searches(self) -> Self:
        if self.false_positives > self.unmated_searches or self.false_negatives > self.mated_searches:
            raise ValueError(f"group {self.name!r} has more errors than searches")
        return self


class ErrorRates(BaseModel):
    """One measurement at one threshold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    v: Annotated[int, Field(ge=1, le=1)]
    measured_at: Name
    data_set: Name
    model: Name
    fingerprint: Name
    threshold: Annotated[float, Field(ge=-1, le=1)]
    groups: Annotated[list[Group], Field(min_length=1, max_length=1000)]


def read_rates(body: bytes) -> ErrorRates:
    """Raises ArgumentError, naming the field."""
    try:
        return ErrorRates.model_validate(json.loads(body))
    except ValidationError as err:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in err.errors()[:5]
        )
        raise ArgumentError(f"error rates: {faults}") from None
    except ValueError as err:
        raise ArgumentError("error rates: a JSON object is expected") from err


def interval(errors: int, searches: int) -> tuple[float, float]:
    """Where the true rate is with 95 % (Wilson's score interval). Args: `searches` is above 0."""
    rate, z2 = errors / searches, Z_95**2
    middle = rate + z2 / (2 * searches)
    half = Z_95 * sqrt(rate * (1 - rate) / searches + z2 / (4 * searches**2))
    scale = 1 + z2 / searches
    # At a rate of 0 or 1 an end is the rate itself, but for the last digit of a float.
    return max(0.0, min(rate, (middle - half) / scale)), min(1.0, max(rate, (middle + half) / scale))


def rates_table(rates: ErrorRates | None) -> Table:
    title = "(f) Error rates, for all and for each group"
    if rates is None:
        return Table(name="rates", title=title, columns=("group",), rows=(), about="Not measured.")
    return Table(
        name="rates",
        title=title,
        about=f"Of 1:N searches with {rates.model} ({rates.fingerprint[:12]}), at the threshold "
        f"{rates.threshold}. FPIR and FNIR are the false positive and the false negative identification "
        "rate of ISO/IEC 19795.",
        columns=COLUMNS,
        rows=[_row(group) for group in rates.groups],
    )


def _row(group: Group) -> Sequence[Cell]:
    return (
        group.name,
        group.unmated_searches,
        group.false_positives,
        *_rate(group.false_positives, group.unmated_searches),
        group.mated_searches,
        group.false_negatives,
        *_rate(group.false_negatives, group.mated_searches),
    )


def _rate(errors: int, searches: int) -> tuple[Cell, Cell]:
    if not searches:
        return "not measured", ""
    low, high = interval(errors, searches)
    return round(100 * errors / searches, 4), f"{100 * low:.4f} to {100 * high:.4f}"
