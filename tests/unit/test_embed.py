"""From pixels to vectors."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import TransientError
from pipeline.ingest.embed import embed_all
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.types import Embedded, FailedAt, Prepared, Reason, Rejected, View
from tests.unit.fakes import SIDE, FakeEmbedder, is_dark, ref_of


def prepared(number: int, shade: int | None = None, views: int = 1) -> Prepared:
    pixels = np.random.default_rng(number).integers(20, 256, (views, 3, SIDE, SIDE), dtype=np.uint8)
    if shade is not None:
        pixels[:] = shade
    return Prepared(
        ref=ref_of(f"{number}.jpg"),
        views=tuple(View(pixels=view) for view in pixels),
        width=100 + number,
        height=50,
        metadata={"n": str(number)},
    )


def rejected(number: int) -> Rejected:
    return Rejected(
        ref=ref_of(f"{number}.jpg"), stage=FailedAt.DECODE, reason=Reason.TRUNCATED, detail="cut short"
    )


def embed(
    outcomes: Sequence[Prepared | Rejected], embedder: FakeEmbedder, group_items: int = 2
) -> dict[str, Embedded | Rejected]:
    found = list(embed_all(outcomes, embedder, group_items, PhaseClock()))
    assert len(found) == len({outcome.ref.key for outcome in found}) == len(outcomes)
    return {outcome.ref.key: outcome for outcome in found}


def test_each_image_gets_its_own_vector_and_keeps_what_is_known_of_it() -> None:
    images = [prepared(number) for number in range(5)]
    found = embed(images, FakeEmbedder())
    for image in images:
        outcome = found[image.ref.key]
        assert isinstance(outcome, Embedded)
        alone = FakeEmbedder().embed_images(image.views[0].pixels[None])[0]
        [vector] = outcome.vectors
        assert vector == pytest.approx(alone)
        assert (outcome.ref, outcome.width, outcome.height) == (image.ref, image.width, image.height)
        assert outcome.metadata == image.metadata


def test_each_view_gets_its_own_vector_in_groups_across_images() -> None:
    images = [prepared(number, views=count) for number, count in enumerate((3, 0, 1, 4))]
    embedder = FakeEmbedder()
    found = embed(images, embedder, group_items=3)
    assert embedder.calls == [3, 3, 2], "the device sees full groups"
    for image in images:
        outcome = found[image.ref.key]
        assert isinstance(outcome, Embedded)
        alone = [FakeEmbedder().embed_images(view.pixels[None])[0] for view in image.views]
        assert len(outcome.vectors) == len(alone)
        assert all(vector == pytest.approx(one) for vector, one in zip(outcome.vectors, alone, strict=True))


def test_one_view_without_a_direction_rejects_its_image_alone() -> None:
    embedder = FakeEmbedder()
    embedder.answer_with(math.nan, is_dark)
    dark = View(pixels=np.zeros((3, SIDE, SIDE), dtype=np.uint8))
    bad = replace(prepared(1, views=2), views=(*prepared(1).views, dark))
    found = embed([prepared(0, views=2), bad, prepared(2)], embedder, group_items=2)
    assert [type(found[f"{number}.jpg"]) for number in range(3)] == [Embedded, Rejected, Embedded]


def test_images_go_through_the_model_in_groups_and_the_last_may_be_smaller() -> None:
    embedder = FakeEmbedder()
    embed([prepared(number) for number in range(5)], embedder, group_items=2)
    assert embedder.calls == [2, 2, 1]


def test_rejections_pass_through_and_cost_the_groups_nothing() -> None:
    embedder = FakeEmbedder()
    outcomes: list[Prepared | Rejected] = [rejected(0), prepared(1), rejected(2), prepared(3), rejected(4)]
    found = embed(outcomes, embedder)
    assert embedder.calls == [2]
    assert [found[f"{number}.jpg"] for number in (0, 2, 4)] == [rejected(0), rejected(2), rejected(4)]
    assert isinstance(found["1.jpg"], Embedded)
    assert isinstance(found["3.jpg"], Embedded)


def test_the_model_is_not_asked_when_there_is_no_image() -> None:
    embedder = FakeEmbedder()
    assert embed([], embedder) == {}
    embed([rejected(0)], embedder)
    assert embedder.calls == []


@pytest.mark.parametrize("answer", [math.nan, math.inf, -math.inf, 0.0])
def test_an_image_that_the_model_has_no_direction_for_is_rejected_alone(answer: float) -> None:
    embedder = FakeEmbedder()
    embedder.answer_with(answer, is_dark)
    found = embed([prepared(0), prepared(1, shade=0), prepared(2)], embedder, group_items=3)
    bad = found["1.jpg"]
    assert isinstance(bad, Rejected)
    assert (bad.stage, bad.reason) == (FailedAt.EMBED, Reason.NOT_FINITE)
    assert isinstance(found["0.jpg"], Embedded)
    assert isinstance(found["2.jpg"], Embedded)


def test_one_number_that_is_not_finite_is_enough_to_reject() -> None:
    class OneNaN(FakeEmbedder):
        def embed_images(self, pixels: np.ndarray) -> np.ndarray:
            vectors = super().embed_images(pixels)
            vectors[0, 3] = math.nan
            return vectors

    found = embed([prepared(0), prepared(1)], OneNaN())
    assert isinstance(found["0.jpg"], Rejected)
    assert isinstance(found["1.jpg"], Embedded)


def test_an_error_of_the_device_is_no_image_s_fault() -> None:
    embedder = FakeEmbedder()
    embedder.fail_next(TransientError("the device is out of memory"))
    with pytest.raises(TransientError, match="out of memory"):
        embed([prepared(0)], embedder)


def test_outcomes_are_taken_one_group_at_a_time() -> None:
    taken: list[int] = []

    def outcomes() -> Iterator[Prepared]:
        for number in range(10):
            taken.append(number)
            yield prepared(number)

    found = embed_all(outcomes(), FakeEmbedder(), 3, PhaseClock())
    next(found)
    assert taken == [0, 1, 2]


def test_the_device_and_its_waiting_are_timed() -> None:
    clock = PhaseClock()
    list(embed_all([prepared(0)], FakeEmbedder(), 2, clock))
    assert clock.seconds().keys() == {"wait", "device"}
