"""All error rates of a model on one labelled set, as one document."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.comparisons import Comparisons
from pipeline.evaluation.error_rates import (
    DataCounts,
    ErrorRates,
    FailureCount,
    Method,
    ModelName,
    SubgroupErrors,
    Verification,
)
from pipeline.evaluation.floor import suggest_floor
from pipeline.evaluation.grid import RESOLUTION
from pipeline.evaluation.identification import (
    Enrolment,
    Searches,
    enrol,
    measure_identification,
    search_all,
)
from pipeline.evaluation.labelled import LabelledVectors
from pipeline.evaluation.rates import CONFIDENCE, independent_rate
from pipeline.evaluation.resampling import replicates_for
from pipeline.evaluation.retrieval import measure_retrieval
from pipeline.evaluation.verification import Similarity, errors_at, measure_verification, no_similarity

FEW_PERSONS = 300  # fewer than these can tell an FMR of 1e-4 only because comparisons share persons


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """An image that has a label and gave no vector."""

    person: str
    reason: str
    subgroups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """What is measured on, and how. `at` are cosines to measure at, beside those that the FARs give."""

    model: ModelName
    pictor: str
    made_at: str  # UTC, RFC 3339
    source: str
    description: str = ""
    unlabelled: int = 0
    several_views: int = 0
    at: Sequence[float] = ()
    seed: int = 0
    not_enrolled_share: float = 0.3
    ignore_failed: bool = False
    fpir: float | None = None  # wanted of a floor, with `gallery_size`
    gallery_size: int = 0
    calibration: str = ""  # version
    similarity: Similarity = no_similarity


def measure_all(
    labelled: LabelledVectors, comparisons: Comparisons, failed: Sequence[Failed], setup: Setup
) -> ErrorRates:
    """Args: `comparisons` are those of `labelled`."""
    verification = measure_verification(
        labelled, comparisons, at=setup.at, seed=setup.seed, similarity=setup.similarity
    )
    thresholds = [errors.threshold for errors in verification.thresholds]
    enrolment = enrol(labelled, not_enrolled_share=setup.not_enrolled_share, seed=setup.seed)
    searches = search_all(labelled, enrolment)
    floor = None
    if setup.fpir is not None:
        floor = suggest_floor(
            labelled, comparisons, fpir=setup.fpir, gallery_size=setup.gallery_size, seed=setup.seed
        )
    return ErrorRates(
        made_at=setup.made_at,
        pictor=setup.pictor,
        model=setup.model,
        calibration=setup.calibration,
        data=_count(labelled, failed, setup),
        method=_method(labelled, setup),
        verification=verification,
        identification=measure_identification(
            labelled,
            searches,
            thresholds,
            failed_mated=_failed_mated(labelled, enrolment, failed, setup),
            seed=setup.seed,
            similarity=setup.similarity,
        ),
        subgroups=[
            _measure_subgroup(column, value, labelled, enrolment, searches, failed, thresholds, setup)
            for column, values in labelled.subgroups.items()
            for value in _values(column, values, failed)
        ],
        retrieval=measure_retrieval(labelled, comparisons),
        floor=floor,
        limits=_limits(labelled, verification, setup),
    )


def _count(labelled: LabelledVectors, failed: Sequence[Failed], setup: Setup) -> DataCounts:
    enrolled = set(labelled.names)
    persons = enrolled | {image.person for image in failed}
    images = len(labelled) + len(failed)
    reasons = Counter(image.reason for image in failed)
    return DataCounts(
        source=setup.source,
        description=setup.description,
        persons=len(persons),
        persons_not_enrolled=len(persons - enrolled),
        images=images,
        failed=len(failed),
        failures=[FailureCount(reason=reason, images=count) for reason, count in sorted(reasons.items())],
        failure_to_acquire=independent_rate(len(failed), images),
        failure_to_enrol=independent_rate(len(persons - enrolled), len(persons)),
        unlabelled=setup.unlabelled,
        several_views=setup.several_views,
    )


def _method(labelled: LabelledVectors, setup: Setup) -> Method:
    return Method(
        seed=setup.seed,
        not_enrolled_share=setup.not_enrolled_share,
        confidence=CONFIDENCE,
        replicates=replicates_for(len(labelled.names)),
        resolution=RESOLUTION,
        failed_images="ignored" if setup.ignore_failed else "counted as misses",
    )


def _failed_mated(
    labelled: LabelledVectors, enrolment: Enrolment, failed: Iterable[Failed], setup: Setup
) -> Mapping[int, int]:
    """By person: each failed image of somebody in the gallery is a search that finds nobody."""
    if setup.ignore_failed:
        return {}
    place_of = {labelled.names[place]: int(place) for place in labelled.persons[enrolment.references]}
    return Counter(place_of[image.person] for image in failed if image.person in place_of)


def _values(column: str, values: NDArray[np.str_], failed: Iterable[Failed]) -> list[str]:
    return sorted({str(value) for value in values} | {image.subgroups.get(column, "") for image in failed})


def _measure_subgroup(
    column: str,
    value: str,
    labelled: LabelledVectors,
    enrolment: Enrolment,
    searches: Searches,
    failed: Sequence[Failed],
    thresholds: Sequence[float],
    setup: Setup,
) -> SubgroupErrors:
    rows = labelled.subgroups[column] == value
    own = labelled.subset(rows)
    own_failed = [image for image in failed if image.subgroups.get(column, "") == value]
    found = measure_identification(
        labelled,
        searches.among(rows),
        thresholds,
        failed_mated=_failed_mated(labelled, enrolment, own_failed, setup),
        seed=setup.seed,
        similarity=setup.similarity,
    )
    return SubgroupErrors(
        column=column,
        value=value,
        persons=len({*own.names, *(image.person for image in own_failed)}),
        images=len(own) + len(own_failed),
        failure_to_acquire=independent_rate(len(own_failed), len(own) + len(own_failed)),
        verification=errors_at(own, thresholds, seed=setup.seed, similarity=setup.similarity),
        identification=found.thresholds,
    )


def _limits(labelled: LabelledVectors, verification: Verification, setup: Setup) -> list[str]:
    limits = [
        "The rates hold for images and persons like these. Other cameras, ages or subgroups have others.",
        "Labels are taken as they are. A wrong label counts as an error of the model.",
        "The gallery of the 1:N rates is small. In a larger one, FPIR rises and more mates are outranked.",
        "FPIR and FNIR are of one choice of persons for the gallery. Another seed gives others.",
    ]
    unmeasured = [f"{each.far:g}" for each in verification.tar_at_far if not each.is_measurable]
    if unmeasured:
        limits.append(
            f"{verification.impostor} comparisons of different persons are too few for a FAR of "
            f"{', '.join(unmeasured)}. The rule of three asks for 3 / FAR of them."
        )
    if len(labelled.names) < FEW_PERSONS:
        limits.append(
            f"{len(labelled.names)} persons are few. The intervals know that comparisons share persons, "
            "but not what other persons would bring."
        )
    if setup.several_views:
        limits.append(f"{setup.several_views} images had several views, of which the best was taken.")
    if setup.unlabelled:
        limits.append(f"{setup.unlabelled} images had no label and were not read.")
    return limits
