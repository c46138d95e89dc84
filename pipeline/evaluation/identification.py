"""Errors of 1:N searches in an open set: some of the persons who are searched for are not in the gallery."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.error_rates import Identification, RankMiss, Rate, SearchErrorsAt
from pipeline.evaluation.grid import step_above, steps_of, threshold_of
from pipeline.evaluation.labelled import LabelledVectors
from pipeline.evaluation.rates import bootstrapped_rate, independent_rate
from pipeline.evaluation.resampling import draw_weights
from pipeline.evaluation.verification import Similarity, no_similarity

RANKS = (1, 5, 10, 20)
BLOCK_SCORES = 4_000_000  # cosines at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Enrolment:
    """Rows of labelled vectors: what is in the gallery, and who is searched for."""

    references: NDArray[np.int64]
    mated: NDArray[np.int64]
    nonmated: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Searches:
    """The outcome of each search, whatever threshold is asked for.

    `mate_steps` is what the own person scored, as a step of the grid, and `mate_ranks` the place of the own
    person, 1 for the first. Others of the same score stand before them. `best_steps` is what the best other
    person scored in a nonmated search. `mated` and `nonmated` are rows.
    """

    gallery_persons: int
    mated: NDArray[np.int64]
    mate_steps: NDArray[np.int32]
    mate_ranks: NDArray[np.int64]
    nonmated: NDArray[np.int64]
    best_steps: NDArray[np.int32]

    def among(self, rows: NDArray[np.bool_]) -> "Searches":
        """Only the searches with these rows."""
        mated, nonmated = rows[self.mated], rows[self.nonmated]
        return Searches(
            gallery_persons=self.gallery_persons,
            mated=self.mated[mated],
            mate_steps=self.mate_steps[mated],
            mate_ranks=self.mate_ranks[mated],
            nonmated=self.nonmated[nonmated],
            best_steps=self.best_steps[nonmated],
        )


def enrol(labelled: LabelledVectors, *, not_enrolled_share: float, seed: int) -> Enrolment:
    """Choose who is in the gallery, and one image of each of them, by chance."""
    generator = np.random.default_rng(seed)
    persons = len(labelled.names)
    out = generator.permutation(persons)[: round(persons * not_enrolled_share)]
    is_out = np.isin(np.arange(persons), out)
    images = labelled.images_of_persons()
    firsts = np.cumsum(images) - images
    references = (firsts + (generator.random(persons) * images).astype(np.int64))[~is_out & (images > 0)]
    rows = np.arange(len(labelled))
    searched = rows[~np.isin(rows, references)]
    is_mated = ~is_out[labelled.persons[searched]]
    return Enrolment(references=references, mated=searched[is_mated], nonmated=searched[~is_mated])


def search_all(labelled: LabelledVectors, enrolment: Enrolment) -> Searches:
    gallery = labelled.vectors[enrolment.references]
    persons = labelled.persons[enrolment.references]  # one reference each
    mate_steps, mate_ranks = _search_mates(labelled, enrolment.mated, gallery, persons)
    return Searches(
        gallery_persons=len(gallery),
        mated=enrolment.mated,
        mate_steps=mate_steps,
        mate_ranks=mate_ranks,
        nonmated=enrolment.nonmated,
        best_steps=_search_others(labelled, enrolment.nonmated, gallery),
    )


def measure_identification(
    labelled: LabelledVectors,
    searches: Searches,
    thresholds: Sequence[float],
    *,
    failed_mated: Mapping[int, int],
    seed: int = 0,
    similarity: Similarity = no_similarity,
) -> Identification:
    """FPIR at thresholds and FNIR by threshold and rank, and FNIR by rank without a threshold.

    Args:
        failed_mated: by person, images of enrolled persons that gave no vector, as misses of every search.
    """
    weights = draw_weights(len(labelled.names), seed)
    counted = _Counted(labelled, searches, failed_mated, weights)
    without = SearchErrorsAt(
        threshold=None, similarity=None, fpir=None, fnir=[counted.fnir(0, rank) for rank in RANKS]
    )
    at = []
    for step in sorted({step_above(threshold) for threshold in thresholds}):
        cosine = threshold_of(step)
        at.append(
            SearchErrorsAt(
                threshold=cosine,
                similarity=similarity(cosine),
                fpir=counted.fpir(step),
                fnir=[counted.fnir(step, rank) for rank in RANKS],
            )
        )
    return Identification(
        gallery_persons=searches.gallery_persons,
        mated_searches=len(searches.mated) + sum(failed_mated.values()),
        nonmated_searches=len(searches.nonmated),
        thresholds=[without, *at],
    )


class _Counted:
    """Counts of searches by person. Who is searched for is resampled, and the gallery stays as it is."""

    def __init__(
        self,
        labelled: LabelledVectors,
        searches: Searches,
        failed_mated: Mapping[int, int],
        weights: NDArray[np.float32],
    ) -> None:
        self._searches = searches
        self._weights = weights
        self._mated = labelled.persons[searches.mated]
        self._nonmated = labelled.persons[searches.nonmated]
        self._failed = np.zeros(weights.shape[1], dtype=np.int64)
        for person, images in failed_mated.items():
            self._failed[person] = images

    def fnir(self, step: int, rank: int) -> RankMiss:
        missed = (self._searches.mate_steps < step) | (self._searches.mate_ranks > rank)
        return RankMiss(rank=rank, fnir=self._rate(missed, self._mated, self._failed))

    def fpir(self, step: int) -> Rate:
        return self._rate(self._searches.best_steps >= step, self._nonmated, np.zeros_like(self._failed))

    def _rate(self, wrong: NDArray[np.bool_], persons: NDArray[np.int64], failed: NDArray[np.int64]) -> Rate:
        errors = np.bincount(persons, wrong, minlength=len(failed)) + failed
        trials = np.bincount(persons, minlength=len(failed)) + failed
        if trials.max(initial=0) <= 1:
            return independent_rate(int(errors.sum()), int(trials.sum()))
        with np.errstate(invalid="ignore", divide="ignore"):
            replicates = (self._weights @ errors) / (self._weights @ trials)
        return bootstrapped_rate(
            int(errors.sum()), int(trials.sum()), replicates, units=int(np.sum(trials > 0))
        )


def _search_mates(
    labelled: LabelledVectors,
    rows: NDArray[np.int64],
    gallery: NDArray[np.float32],
    persons: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    steps, ranks = np.zeros(len(rows), dtype=np.int32), np.zeros(len(rows), dtype=np.int64)
    mates = np.searchsorted(persons, labelled.persons[rows])  # references are in the order of their persons
    for block in _blocks(len(rows), len(gallery)):
        scores = labelled.vectors[rows[block]] @ gallery.T
        of_mate = scores[np.arange(len(scores)), mates[block]]
        steps[block] = steps_of(of_mate)
        ranks[block] = (scores >= of_mate[:, None]).sum(axis=1)  # the mate is one of them
    return steps, ranks


def _search_others(
    labelled: LabelledVectors, rows: NDArray[np.int64], gallery: NDArray[np.float32]
) -> NDArray[np.int32]:
    best = np.zeros(len(rows), dtype=np.int32)
    if len(gallery):
        for block in _blocks(len(rows), len(gallery)):
            best[block] = steps_of((labelled.vectors[rows[block]] @ gallery.T).max(axis=1))
    return best


def _blocks(rows: int, columns: int) -> list[slice]:
    height = max(1, BLOCK_SCORES // max(1, columns))
    return [slice(start, start + height) for start in range(0, rows, height)]
