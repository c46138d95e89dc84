"""From references to pixels."""

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import CredentialsError, ImageError, PictorError, TransientError
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.prepare import prepare_all
from pipeline.ports import Concurrency, ImageLimits
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import LASTING_REASONS, FailedAt, FetchedObject, ObjectRef, Prepared, Reason, Rejected
from tests.unit.fakes import (
    BLUE,
    BUCKET,
    CONCURRENCY,
    LIMITS,
    RED,
    SIDE,
    SPEC,
    distinct_png,
    jpeg,
    png,
    ref_of,
)

DEADLINE_S = 20


class WatchedStore(MemoryStore):
    """Notes what is read, how many reads are under way, and holds each back until it may go on."""

    def __init__(self) -> None:
        super().__init__(BUCKET)
        self.read: list[str] = []
        self.most_at_once = 0
        self.hold: Callable[[str], None] = lambda _key: None
        self._inside = 0
        self.changed = threading.Condition()

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        with self.changed:
            self.read.append(ref.key)
            self._inside += 1
            self.most_at_once = max(self.most_at_once, self._inside)
            self.changed.notify_all()
        try:
            self.hold(ref.key)
            return super().get(ref, max_bytes=max_bytes)
        finally:
            with self.changed:
                self._inside -= 1
                self.changed.notify_all()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE_S)

    def idle(self) -> bool:
        return self._inside == 0


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


def prepare(
    store: MemoryStore,
    refs: Sequence[ObjectRef] | None = None,
    limits: ImageLimits = LIMITS,
    concurrency: Concurrency = CONCURRENCY,
) -> list[Prepared | Rejected]:
    refs = list(store.list_objects(BUCKET)) if refs is None else refs
    return list(prepare_all(refs, store, SPEC.preprocessing, limits, PhaseClock(), concurrency=concurrency))


def fill(store: MemoryStore, count: int) -> list[ObjectRef]:
    for number in range(count):
        store.put(BUCKET, f"{number:02d}.png", distinct_png(number))
    return list(store.list_objects(BUCKET))


def prepare_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prepare")]


def test_an_image_becomes_pixels_with_the_size_of_the_original_and_its_metadata(store: WatchedStore) -> None:
    store.put(BUCKET, "wide.jpg", jpeg(RED, width=64, height=16), {"camera": "7"})
    [outcome] = prepare(store)
    assert isinstance(outcome, Prepared)
    assert outcome.views[0].pixels.shape == (3, SIDE, SIDE)
    assert outcome.views[0].pixels.dtype == np.uint8
    assert (
        np.abs(outcome.views[0].pixels.astype(int) - np.array(RED)[:, None, None]).max() <= 8
    )  # JPEG is lossy
    assert (outcome.width, outcome.height) == (64, 16)
    assert outcome.metadata == {"camera": "7"}
    assert outcome.ref == store.stat(BUCKET, "wide.jpg")


def test_outcomes_come_in_the_order_of_the_references_however_long_each_takes(store: WatchedStore) -> None:
    refs = fill(store, 9)
    # The first waits until the second has been read.
    store.hold = lambda key: store.wait_until(lambda: "01.png" in store.read) if key == "00.png" else None
    outcomes = prepare(store, refs)
    assert [outcome.ref for outcome in outcomes] == refs
    for outcome in outcomes:
        [alone] = prepare(store, [outcome.ref])
        assert isinstance(outcome, Prepared)
        assert isinstance(alone, Prepared)
        assert (outcome.views[0].pixels == alone.views[0].pixels).all()


def test_no_references_give_no_outcomes(store: WatchedStore) -> None:
    assert prepare(store, []) == []
    assert prepare_threads() == []


def test_no_more_than_two_groups_are_prepared_ahead_of_the_consumer(store: WatchedStore) -> None:
    refs = fill(store, 20)
    concurrency = replace(CONCURRENCY, group_items=3)
    with closing(
        prepare_all(refs, store, SPEC.preprocessing, LIMITS, PhaseClock(), concurrency=concurrency)
    ) as outcomes:
        for taken in range(1, 4):
            next(outcomes)
            ahead = [ref.key for ref in refs[: 2 * concurrency.group_items + taken - 1]]
            store.wait_until(lambda ahead=ahead: store.idle() and len(store.read) >= len(ahead))  # type: ignore[misc]
            assert sorted(store.read) == ahead


def test_no_more_objects_are_read_at_once_than_there_are_fetch_threads(store: WatchedStore) -> None:
    refs = fill(store, 12)
    store.hold = lambda _key: store.wait_until(lambda: len(store.read) >= 3)
    prepare(store, refs, concurrency=replace(CONCURRENCY, fetch_threads=3, group_items=8))
    assert store.most_at_once == 3


def test_without_working_ahead_the_thread_that_asks_prepares_each_image_when_it_asks(
    store: WatchedStore,
) -> None:
    refs = fill(store, 4)
    in_turn = replace(CONCURRENCY, works_ahead=False)
    outcomes = prepare_all(refs, store, SPEC.preprocessing, LIMITS, PhaseClock(), concurrency=in_turn)
    with closing(outcomes):
        for taken, outcome in enumerate(outcomes, 1):
            assert outcome.ref == refs[taken - 1]
            assert store.read == [ref.key for ref in refs[:taken]]
            assert prepare_threads() == []
    assert len(store.read) == len(refs)


def test_closing_early_stops_the_threads_and_reads_no_further_than_two_groups(store: WatchedStore) -> None:
    refs = fill(store, 20)
    outcomes = prepare_all(refs, store, SPEC.preprocessing, LIMITS, PhaseClock(), concurrency=CONCURRENCY)
    next(outcomes)
    assert prepare_threads() != []
    outcomes.close()
    assert prepare_threads() == []
    assert len(store.read) <= 2 * CONCURRENCY.group_items


@pytest.mark.parametrize("error", [TransientError("the store is away"), CredentialsError("refused")])
def test_an_error_of_the_world_blames_no_image_and_stops_the_threads(
    store: WatchedStore, error: PictorError
) -> None:
    refs = fill(store, 20)
    store.fail_next(error)
    with pytest.raises(type(error)) as caught:
        prepare(store, refs)
    assert caught.value is error
    assert prepare_threads() == []
    assert len(store.read) <= 2 * CONCURRENCY.group_items


def test_time_is_counted_by_stage(store: WatchedStore) -> None:
    refs = fill(store, 3)
    clock = PhaseClock()
    list(prepare_all(refs, store, SPEC.preprocessing, LIMITS, clock, concurrency=CONCURRENCY))
    assert clock.seconds().keys() == {"fetch", "decode"}


BAD_BODIES = {
    "empty": (b"", FailedAt.FETCH, Reason.EMPTY),
    "a text": (b"no picture at all, but long enough to be looked at", FailedAt.DECODE, Reason.NOT_AN_IMAGE),
    "cut short": (png(width=64, height=64)[:80], FailedAt.DECODE, Reason.TRUNCATED),
    "a tracking pixel": (png(width=1, height=1), FailedAt.DECODE, Reason.TOO_SMALL),
    "more pixels than allowed": (png(width=101, height=100), FailedAt.DECODE, Reason.TOO_MANY_PIXELS),
}


@pytest.mark.parametrize(("body", "stage", "reason"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_image_is_rejected_with_stage_and_reason_and_its_neighbours_are_not(
    store: WatchedStore, body: bytes, stage: FailedAt, reason: Reason
) -> None:
    store.put(BUCKET, "a.jpg", jpeg(RED))
    store.put(BUCKET, "b.jpg", body)
    store.put(BUCKET, "c.jpg", jpeg(BLUE))
    before, bad, after = prepare(store, limits=replace(LIMITS, max_px=10_000))
    assert isinstance(before, Prepared)
    assert isinstance(bad, Rejected)
    assert isinstance(after, Prepared)
    assert (bad.ref.key, bad.stage, bad.reason) == ("b.jpg", stage, reason)
    assert bad.detail != ""


def test_a_picture_that_takes_too_long_is_rejected_and_tried_again_by_the_next_job(
    store: WatchedStore,
) -> None:
    ref = fill(store, 1)[0]
    (outcome,) = prepare(store, [ref], limits=replace(LIMITS, decode_deadline_s=0.0))
    assert isinstance(outcome, Rejected)
    assert (outcome.stage, outcome.reason) == (FailedAt.DECODE, Reason.TIMEOUT)
    assert outcome.detail == "not decoded within 0 s of processor time"
    assert outcome.reason not in LASTING_REASONS


def test_an_object_that_is_gone_or_was_overwritten_is_rejected_while_fetching(store: WatchedStore) -> None:
    store.put(BUCKET, "b.jpg", jpeg(RED))
    gone, changed = prepare(store, [ref_of("a.jpg"), ref_of("b.jpg", etag="an older one")])
    assert isinstance(gone, Rejected)
    assert (gone.stage, gone.reason) == (FailedAt.FETCH, Reason.NOT_FOUND)
    assert isinstance(changed, Rejected)
    assert (changed.stage, changed.reason) == (FailedAt.FETCH, Reason.CHANGED)


@pytest.mark.parametrize("reason", Reason)
def test_whatever_the_store_says_of_an_image_is_kept(store: WatchedStore, reason: Reason) -> None:
    store.fail_next(ImageError(reason, "as the store words it"))
    [outcome] = prepare(store, [ref_of()])
    assert outcome == Rejected(
        ref=ref_of(), stage=FailedAt.FETCH, reason=reason, detail="as the store words it"
    )


def test_an_object_that_is_listed_as_too_large_is_not_read(store: WatchedStore) -> None:
    [outcome] = prepare(store, [ref_of(size_bytes=101)], replace(LIMITS, max_object_bytes=100))
    assert isinstance(outcome, Rejected)
    assert (outcome.stage, outcome.reason) == (FailedAt.FETCH, Reason.TOO_LARGE)
    assert "101" in outcome.detail
    assert "100" in outcome.detail
    assert store.read == []


def test_an_object_that_is_longer_than_listed_is_rejected_too(store: WatchedStore) -> None:
    store.put(BUCKET, "a.jpg", jpeg())
    ref = replace(store.stat(BUCKET, "a.jpg"), size_bytes=1)
    [outcome] = prepare(store, [ref], replace(LIMITS, max_object_bytes=100))
    assert isinstance(outcome, Rejected)
    assert (outcome.stage, outcome.reason) == (FailedAt.FETCH, Reason.TOO_LARGE)


def test_an_object_of_exactly_the_allowed_length_is_read(store: WatchedStore) -> None:
    store.put(BUCKET, "a.jpg", jpeg())
    [outcome] = prepare(store, limits=replace(LIMITS, max_object_bytes=len(jpeg())))
    assert isinstance(outcome, Prepared)


def test_metadata_that_no_index_could_hold_costs_its_own_image_alone(store: WatchedStore) -> None:
    store.put(BUCKET, "a.png", png(RED))
    store.put(BUCKET, "b.png", png(BLUE), metadata={"note": "x" * 20_001})
    good, bad = prepare(store)
    assert isinstance(good, Prepared)
    assert isinstance(bad, Rejected)
    assert (bad.stage, bad.reason) == (FailedAt.FETCH, Reason.TOO_LARGE)
