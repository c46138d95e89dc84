"""What a part of the benchmark leaves behind: its figures as one JSON file, read back strictly."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


class ResultError(ValueError):
    """A file of results that is not one. The message names the file and the fault."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One measured quantity: its value in each round, or in `missing` why there is none."""

    name: str
    unit: str
    rounds: tuple[float, ...] = ()
    missing: str = ""

    def __post_init__(self) -> None:
        if bool(self.rounds) == bool(self.missing):
            raise ValueError(f"figure {self.name!r} must have either rounds or a reason why it has none")
        if not all(math.isfinite(value) for value in self.rounds):
            raise ValueError(f"figure {self.name!r} has a round that is not a finite number")

    @property
    def median(self) -> float:
        """Raises StatisticsError when there are no rounds."""
        return median(self.rounds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """`gpu` is empty where there is none. `versions` are of everything that took part, by name."""

    cpu: str
    cores: int
    memory_bytes: int
    gpu: str
    native_bfloat16: bool
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """`failure` is empty, or says why the part came to no end; it then has no figures."""

    part: str
    made_at: str  # UTC, ISO 8601
    seconds: float  # how long the part took
    quick: bool  # a smoke test: the figures show that the scripts work, and nothing else
    machine: Machine
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()  # what must be known to read the figures
    failure: str = ""

    def figure(self, name: str) -> Figure | None:
        return next((figure for figure in self.figures if figure.name == name), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What one part found out."""

    figures: Sequence[Figure]
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)  # of what took part besides the project's own


def write_result(result: Result, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{result.part}.json"
    new = file.with_suffix(".new")  # renamed when complete: a run that is killed leaves the former result
    new.write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return new.rename(file)


def read_result(file: Path) -> Result:
    """Raises ResultError for a file that is no result."""
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        return Result(
            **fields
            | {
                "machine": Machine(**fields["machine"]),
                "figures": tuple(_read_figure(entry) for entry in fields["figures"]),
                "notes": tuple(fields["notes"]),
            }
        )
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ResultError(f"{file} is not a result: {err}") from err


def read_results(folder: Path) -> dict[str, Result]:
    """By part."""
    return {file.stem: read_result(file) for file in sorted(folder.glob("*.json"))}


def _read_figure(entry: dict[str, Any]) -> Figure:
    return Figure(**entry | {"rounds": tuple(float(value) for value in entry["rounds"])})
