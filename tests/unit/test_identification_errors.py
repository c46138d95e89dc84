"""Errors of 1:N searches in an open set, and of retrieval: by hand, and by looking at every search."""

import numpy as np
import pytest

from pipeline.evaluation.comparisons import compare_all
from pipeline.evaluation.error_rates import Identification, SearchErrorsAt
from pipeline.evaluation.identification import (
    Enrolment,
    enrol,
    measure_identification,
    search_all,
)
from pipeline.evaluation.labelled import LabelledVectors
from pipeline.evaluation.retrieval import average_precision, measure_retrieval
from tests.unit.evaluation_worlds import at_angles, crowd


def rows(*places: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array(places, dtype=np.int64)


def measure(
    labelled: LabelledVectors, enrolment: Enrolment, *at: float, failed: dict[int, int] | None = None
) -> Identification:
    return measure_identification(labelled, search_all(labelled, enrolment), at, failed_mated=failed or {})


def errors(found: SearchErrorsAt) -> tuple[int | None, list[int]]:
    return None if found.fpir is None else found.fpir.errors, [miss.fnir.errors for miss in found.fnir]


# The gallery holds a at 0 and b at 50 degrees. The searches: a at 40, which is nearer to b; b at 70; c at 30.
BY_HAND = at_angles([0, 40, 50, 70, 30], ["a", "a", "b", "b", "c"])
ENROLLED = Enrolment(references=rows(0, 2), mated=rows(1, 3), nonmated=rows(4))


def test_errors_of_searches_are_those_counted_by_hand() -> None:
    found = measure(BY_HAND, ENROLLED, 0.9, 0.95)  # 25.8 and 18.2 degrees
    assert (found.gallery_persons, found.mated_searches, found.nonmated_searches) == (2, 2, 1)
    without, at_90, at_95 = found.thresholds
    assert errors(without) == (None, [1, 0, 0, 0])
    assert errors(at_90) == (1, [1, 1, 1, 1])  # a is out of reach at any rank, c is taken for b
    assert errors(at_95) == (0, [2, 2, 2, 2])
    assert at_90.fnir[0].fnir.method == "clopper_pearson"  # one search for each person


def test_somebody_else_with_the_same_score_stands_first() -> None:
    tied = at_angles([0, 20, 40], ["a", "a", "b"])
    found = measure(tied, Enrolment(references=rows(0, 2), mated=rows(1), nonmated=rows()))
    assert errors(found.thresholds[0])[1] == [1, 0, 0, 0]


def test_an_image_that_gave_no_vector_is_a_miss_of_every_search() -> None:
    found = measure(BY_HAND, ENROLLED, -1, failed={1: 3})
    assert found.mated_searches == 5
    assert [(miss.fnir.errors, miss.fnir.trials) for miss in found.thresholds[0].fnir][1] == (3, 5)


def test_searches_find_what_a_look_at_every_pair_finds() -> None:
    labelled = crowd(1, persons=30, images=3)
    enrolment = enrol(labelled, not_enrolled_share=0.3, seed=5)
    _, at = measure(labelled, enrolment, 0.55).thresholds
    gallery, missed = labelled.vectors[enrolment.references], {1: 0, 5: 0}
    best_other = [(gallery @ labelled.vectors[row]).max() for row in enrolment.nonmated]
    for row in enrolment.mated:
        scores = gallery @ labelled.vectors[row]
        [mate] = np.flatnonzero(labelled.persons[enrolment.references] == labelled.persons[row])
        place = 1 + np.sum(np.delete(scores, mate) >= scores[mate])
        for rank in missed:
            missed[rank] += bool(place > rank or scores[mate] < 0.55)
    assert at.fpir is not None
    assert 0 < at.fpir.errors == np.sum(np.array(best_other) >= 0.55) < at.fpir.trials
    assert [miss.fnir.errors for miss in at.fnir[:2]] == [missed[1], missed[5]]
    assert at.fpir.method == "person_bootstrap"  # three searches for each person


def test_persons_and_images_of_the_gallery_are_chosen_by_the_seed() -> None:
    labelled = crowd(2, persons=20, images=3)
    first = enrol(labelled, not_enrolled_share=0.25, seed=1)
    again, other = (enrol(labelled, not_enrolled_share=0.25, seed=seed) for seed in (1, 2))
    assert first.references.tolist() == again.references.tolist() != other.references.tolist()
    assert (len(first.references), len(first.mated), len(first.nonmated)) == (15, 30, 15)
    everything = np.concatenate([first.references, first.mated, first.nonmated])
    assert sorted(everything) == list(range(60))
    gallery = set(labelled.persons[first.references])
    assert set(labelled.persons[first.mated]) == gallery
    assert not gallery & set(labelled.persons[first.nonmated])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_everybody_or_nobody_in_the_gallery_is_measured_without_a_fault(share: float) -> None:
    labelled = crowd(3, persons=5, images=2)
    found = measure(labelled, enrol(labelled, not_enrolled_share=share, seed=0), 0.5)
    fpir = found.thresholds[1].fpir
    assert fpir is not None
    assert (fpir.estimate is None) == (share == 0)
    assert (found.thresholds[1].fnir[0].fnir.estimate is None) == (share == 1)


def test_misses_rise_with_the_threshold_and_fall_with_the_rank() -> None:
    labelled = crowd(4, persons=30, images=3)
    at = np.linspace(-1, 1, 21)
    found = measure(labelled, enrol(labelled, not_enrolled_share=0.3, seed=0), *at).thresholds[1:]
    fpir, fnir = zip(*map(errors, found), strict=True)
    assert list(fpir) == sorted(fpir, reverse=True)
    assert [misses[0] for misses in fnir] == sorted(misses[0] for misses in fnir)
    assert all(misses == sorted(misses, reverse=True) for misses in fnir)


def test_retrieval_is_that_counted_by_hand() -> None:
    """From 0: a 10, b 20, a 30. From 10: a 0 and b 20 (the first row first). From 30: b 20, a 10, a 0."""
    labelled = at_angles([0, 10, 30, 20], ["a", "a", "a", "b"])
    found = measure_retrieval(labelled, compare_all(labelled))
    assert found is not None
    assert found.queries == 3  # b has no others and only answers
    assert found.recall_at_1 == pytest.approx(2 / 3)
    assert found.recall_at_5 == 1
    precisions = [(1 + 2 / 3) / 2, (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2]
    assert found.mean_average_precision == pytest.approx(np.mean(precisions))
    # Of pairs 10 apart, 1 of 3 is right. With those 20 apart 2 of 5, and with the one 30 apart 3 of 6.
    assert found.micro_average_precision == pytest.approx((1 / 3 + 2 / 5 + 3 / 6) / 3)


def test_one_threshold_for_all_pairs_is_harder_than_one_for_each_picture() -> None:
    """All find their copy first, and two different pictures are as near as the copies of a third."""
    labelled = at_angles([0, 1, 10, 11, 100, 120], ["a", "a", "b", "b", "c", "c"])
    found = measure_retrieval(labelled, compare_all(labelled))
    assert found is not None
    assert found.mean_average_precision == 1
    assert found.micro_average_precision == pytest.approx((1 + 1 + 3 / 7) / 3)


def test_retrieval_of_nothing_but_single_images_is_not_stated() -> None:
    labelled = at_angles([0, 90], ["a", "b"])
    assert measure_retrieval(labelled, compare_all(labelled)) is None
    assert average_precision(np.array([False, True])) == 0.5
