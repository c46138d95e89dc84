"""Persons who are searched for in a gallery of others: whoever is found there is a false positive."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.error_rates import ModelName, Rate
from pipeline.evaluation.grid import step_above, steps_of, threshold_of
from pipeline.evaluation.labelled import LabelledVectors
from pipeline.evaluation.rates import independent_rate
from pipeline.evaluation.verification import Similarity, no_similarity

FORMAT = "pictor.impostor_search/1"
MOST_SHOWN = 100  # false positives that are named, the highest of them
BLOCK_SCORES = 2_000_000  # cosines at once


@dataclass(frozen=True, kw_only=True, slots=True)
class FalsePositive:
    """The nearest image of the gallery to an image of somebody who is not in it."""

    probe: str
    candidate: str
    cosine: float
    similarity: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupShare:
    """Of the persons of a subgroup, who were falsely found."""

    column: str
    value: str
    persons: Rate


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundAt:
    """`persons` are those of the probes with a false positive, and `probes` their images with one.

    `candidates` is how many images of the gallery were answered, of all searches together.
    """

    threshold: float
    similarity: float | None
    persons: Rate
    probes: int
    candidates: int
    subgroups: Sequence[GroupShare]
    highest: Sequence[FalsePositive]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImpostorSearch:
    """`in_both` are names that the probes and the gallery share. Their own images are no false positives."""

    made_at: str
    pictor: str
    model: ModelName
    calibration: str
    probes: str
    gallery: str
    probe_persons: int
    probe_images: int
    gallery_images: int
    in_both: Sequence[str]
    failed_probes: int
    failed_gallery: int
    found: Sequence[FoundAt]


def impostor_search_json(search: ImpostorSearch) -> Mapping[str, object]:
    return {"format": FORMAT, **asdict(search)}


def search_impostors(
    probes: LabelledVectors,
    gallery: LabelledVectors,
    thresholds: Sequence[float],
    *,
    similarity: Similarity = no_similarity,
) -> list[FoundAt]:
    """Each probe asks for all images of the gallery at or above each threshold."""
    steps = [step_above(threshold) for threshold in thresholds]
    nearest = np.zeros(len(probes), dtype=np.int64)
    best = np.full(len(probes), -np.inf)
    candidates = np.zeros((len(steps), len(probes)), dtype=np.int64)
    numbers = {name: number for number, name in enumerate(probes.names)}
    owners = np.array([numbers.get(name, -1) for name in gallery.names], dtype=np.int64)[gallery.persons]
    height = max(1, BLOCK_SCORES // max(1, len(gallery)))
    for start in range(0, len(probes), height):
        rows = slice(start, start + height)
        scores = probes.vectors[rows] @ gallery.vectors.T
        scores[probes.persons[rows][:, None] == owners[None, :]] = -np.inf  # their own images
        nearest[rows], best[rows] = scores.argmax(axis=1), scores.max(axis=1)
        reached = np.where(np.isfinite(scores), steps_of(np.maximum(scores, -1)), -1)
        for place, step in enumerate(steps):
            candidates[place, rows] = (reached >= step).sum(axis=1)
    return [
        _found_at(step, candidates[place], nearest, best, probes, gallery, similarity)
        for place, step in enumerate(steps)
    ]


def _found_at(
    step: int,
    candidates: NDArray[np.int64],
    nearest: NDArray[np.int64],
    best: NDArray[np.float64],
    probes: LabelledVectors,
    gallery: LabelledVectors,
    similarity: Similarity,
) -> FoundAt:
    is_found = candidates > 0
    highest = [row for row in np.argsort(-best, kind="stable").tolist() if is_found[row]][:MOST_SHOWN]
    cosine = threshold_of(step)
    return FoundAt(
        threshold=cosine,
        similarity=similarity(cosine),
        persons=_of_persons(is_found, probes.persons),
        probes=int(is_found.sum()),
        candidates=int(candidates.sum()),
        subgroups=[
            GroupShare(column=column, value=str(value), persons=_of_persons(is_found[of], probes.persons[of]))
            for column, values in probes.subgroups.items()
            for value in np.unique(values)
            for of in [values == value]
        ],
        highest=[
            FalsePositive(
                probe=probes.keys[row],
                candidate=gallery.keys[nearest[row]],
                cosine=float(best[row]),
                similarity=similarity(float(best[row])),
            )
            for row in highest
        ],
    )


def _of_persons(is_found: NDArray[np.bool_], persons: NDArray[np.int64]) -> Rate:
    """Persons do not depend on each other, once the gallery is what it is."""
    return independent_rate(len(np.unique(persons[is_found])), len(np.unique(persons)))
