"""The document of measured error rates, as `docs/reference/error-rates.md` describes it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from pipeline.errors import ArgumentError

FORMAT = "pictor.error_rates/1"

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Cosine = Annotated[float, Field(ge=-1, le=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """A share of trials that went wrong, with its interval. All three are None without trials.

    `method` says how the interval was made: `person_bootstrap`, `clopper_pearson` where the trials are
    independent, `clopper_pearson_units` where the bootstrap saw no error or only errors, or `none`.
    """

    errors: Count
    trials: Count
    estimate: Share | None
    low: Share | None
    high: Share | None
    method: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelName:
    name: str
    address: str
    architecture: str
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureCount:
    reason: str
    images: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class DataCounts:
    """What was measured on. `images` are all that have a label, and `failed` of them gave no vector."""

    source: str
    description: str
    persons: Count
    persons_not_enrolled: Count  # none of their images gave a vector
    images: Count
    failed: Count
    failures: Sequence[FailureCount]
    failure_to_acquire: Rate
    failure_to_enrol: Rate
    unlabelled: Count  # images without a label, which were not read
    several_views: Count  # images with more than one view, of which the first was taken


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """How it was measured. A threshold is a multiple of `resolution`."""

    seed: int
    not_enrolled_share: float
    confidence: float
    replicates: int
    resolution: float
    failed_images: Literal["counted as misses", "ignored"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorsAt:
    """The errors of 1:1 comparisons at a threshold. `similarity` is 0..100, where there is a calibration."""

    threshold: Cosine
    similarity: float | None
    fmr: Rate
    fnmr: Rate


@dataclass(frozen=True, kw_only=True, slots=True)
class TrueAcceptance:
    """TAR at a wanted FAR. `threshold` and `at` are None where too few comparisons can tell."""

    far: float
    is_measurable: bool
    needed_comparisons: int  # of different persons, by the rule of three
    at: ErrorsAt | None
    tar: Share | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    threshold: Cosine
    fmr: Share
    fnmr: Share


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """1:1. `genuine` and `impostor` are how many comparisons there are of one and of two persons."""

    genuine: Count
    impostor: Count
    equal_error_rate: Share | None
    thresholds: Sequence[ErrorsAt]
    tar_at_far: Sequence[TrueAcceptance]
    curve: Sequence[CurvePoint]


@dataclass(frozen=True, kw_only=True, slots=True)
class RankMiss:
    rank: int
    fnir: Rate


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchErrorsAt:
    """The errors of 1:N searches at a threshold. Without one, `threshold` is None and `fpir` is, too."""

    threshold: Cosine | None
    similarity: float | None
    fpir: Rate | None
    fnir: Sequence[RankMiss]


@dataclass(frozen=True, kw_only=True, slots=True)
class Identification:
    """1:N, open set: searches for persons who are in the gallery (mated), and for others."""

    gallery_persons: Count
    mated_searches: Count
    nonmated_searches: Count
    thresholds: Sequence[SearchErrorsAt]


@dataclass(frozen=True, kw_only=True, slots=True)
class SubgroupErrors:
    """`verification` compares persons of the subgroup with each other, `identification` searches for them."""

    column: str
    value: str
    persons: Count
    images: Count
    failure_to_acquire: Rate
    verification: Sequence[ErrorsAt]
    identification: Sequence[SearchErrorsAt]


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrieval:
    """Each image asks for the others of its label. `queries` are the images that have others.

    `micro_average_precision` is of one ranking of all pairs (uAP), the measure of copy detection.
    """

    queries: Count
    recall_at_1: Share
    recall_at_5: Share
    mean_average_precision: Share
    micro_average_precision: Share


@dataclass(frozen=True, kw_only=True, slots=True)
class FloorSuggestion:
    """A floor for a wanted FPIR in a gallery of a given size.

    `is_extrapolated`: the FMR that it needs was not measured, but follows from a model of the tail.
    """

    fpir: Share
    gallery_size: Count
    needed_fmr: Share
    measurable_fmr: Share
    is_extrapolated: bool
    floor: Cosine
    low: Cosine
    high: Cosine
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorRates:
    """What `pictor evaluate --json` prints."""

    made_at: str  # UTC, RFC 3339
    pictor: str  # version
    model: ModelName
    calibration: str  # version, or empty
    data: DataCounts
    method: Method
    verification: Verification
    identification: Identification
    subgroups: Sequence[SubgroupErrors] = field(default_factory=list)
    retrieval: Retrieval | None = None
    floor: FloorSuggestion | None = None
    limits: Sequence[str] = field(default_factory=list)


def error_rates_json(rates: ErrorRates) -> Mapping[str, object]:
    return {"format": FORMAT, **asdict(rates)}


def read_error_rates(text: str, *, of: str) -> ErrorRates:
    """Read a document that `pictor evaluate --json` made. Fields that it does not know are left out.

    Args:
        of: names the document in a message.

    Raises:
        ArgumentError: it is none, or of another version.
    """
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as err:
        raise ArgumentError(f"{of}: this is not JSON") from err
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise ArgumentError(f"{of}: the format is {found!r}, and {FORMAT!r} is expected")
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ArgumentError(f"{of}: {place}: {first['msg']}") from err


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


_ADAPTER = TypeAdapter(ErrorRates)
