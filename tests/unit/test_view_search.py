"""Pictures that are searched by the thread of their batch: a few of them together, step by step."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.models.catalogue import load_finder, load_spec
from pipeline.errors import ImageError
from pipeline.image.decode.work import Deadline
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.prepare import prepare_all
from pipeline.ingest.view_search import TOGETHER_BYTES, TOGETHER_IMAGES
from pipeline.ports import Concurrency, ImageLimits, ViewFinder
from pipeline.ports.embedder import Finding, finish, never_late
from pipeline.ports.lazy import LazyFinder
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import FailedAt, Pixels, Prepared, Reason, Rejected, View
from tests.face_models import DrawnFace, picture, write_face_model
from tests.unit.fakes import BUCKET, LIMITS, RED, SPEC, png

IN_TURN = Concurrency(fetch_threads=1, decode_threads=1, works_ahead=False)


class Steps:
    """Two steps for a picture, which are noted with its width."""

    min_side_px = 16

    def __init__(self) -> None:
        self.taken: list[tuple[str, int]] = []
        self.alive: list[Callable[[], object]] = []

    def find_views(self, rgb: Pixels, *, check_time: Callable[[], None] = never_late) -> Sequence[View]:
        return finish(self.find_in_steps(rgb, check_time=check_time))

    def find_in_steps(self, rgb: Pixels, *, check_time: Callable[[], None] = never_late) -> Finding:
        check_time()
        width = rgb.shape[1]
        self.taken.append(("network", width))
        yield
        check_time()
        self.taken.append(("views", width))
        return ()


def search(store: MemoryStore, finder: ViewFinder, limits: ImageLimits = LIMITS) -> list[Prepared | Rejected]:
    return list(
        prepare_all(
            list(store.list_objects(BUCKET)),
            store,
            SPEC.preprocessing,
            limits,
            PhaseClock(),
            concurrency=IN_TURN,
            finder=finder,
        )
    )


def store_of(*widths: int, height: int = 20) -> MemoryStore:
    store = MemoryStore(BUCKET)
    for number, width in enumerate(widths):
        store.put(BUCKET, f"{number:03}.png", png(RED, width, height))
    return store


def test_a_few_pictures_take_a_step_before_any_takes_the_next() -> None:
    finder = Steps()
    outcomes = search(store_of(20, 21, 22), finder)
    assert [type(outcome) for outcome in outcomes] == [Prepared] * 3
    steps = [(step, width) for step in ("network", "views") for width in (20, 21, 22)]
    assert finder.taken == steps


def test_a_finder_that_is_loaded_late_goes_step_by_step_too() -> None:
    finder = Steps()
    search(store_of(20, 21), LazyFinder(lambda: finder))
    assert [step for step, _ in finder.taken] == ["network", "network", "views", "views"]


def test_no_more_pictures_wait_for_each_other_than_there_is_room_for() -> None:
    finder = Steps()
    search(store_of(*[20] * (TOGETHER_IMAGES + 1)), finder)
    assert [step for step, _ in finder.taken[: TOGETHER_IMAGES + 1]] == ["network"] * TOGETHER_IMAGES + [
        "views"
    ]


def test_a_large_picture_waits_for_no_other_and_leaves_before_the_next_is_decoded() -> None:
    height = 1024
    width = TOGETHER_BYTES // (3 * height) + 1
    finder, pixels = Steps(), list[weakref.ref[Pixels]]()

    class Watched(Steps):
        min_side_px = height

        def find_in_steps(self, rgb: Pixels, *, check_time: Callable[[], None] = never_late) -> Finding:
            assert [seen() for seen in pixels] == [None] * len(pixels)
            pixels.append(weakref.ref(rgb))
            return finder.find_in_steps(rgb, check_time=check_time)

    search(store_of(width, width + 1, height=height), Watched())
    assert finder.taken == [
        ("network", width),
        ("views", width),
        ("network", width + 1),
        ("views", width + 1),
    ]
    assert len(pixels) == 2


def test_outcomes_are_in_order_and_an_error_is_that_of_its_image() -> None:
    store = store_of(20, 21)
    store.put(BUCKET, "000-bad.png", b"no picture, but a text of some length")

    class Failing(Steps):
        def find_in_steps(self, rgb: Pixels, *, check_time: Callable[[], None] = never_late) -> Finding:
            yield
            if rgb.shape[1] == 20:
                raise ImageError(Reason.TIMEOUT, "it takes too long")
            return ()

    bad, late, good = search(store, Failing())
    assert isinstance(bad, Rejected)
    assert (bad.stage, bad.reason) == (FailedAt.DECODE, Reason.NOT_AN_IMAGE)
    assert isinstance(late, Rejected)
    assert (late.ref.key, late.stage, late.reason) == ("000.png", FailedAt.DECODE, Reason.TIMEOUT)
    assert isinstance(good, Prepared)


def test_faces_are_the_same_as_where_each_picture_is_searched_alone(tmp_path: Path) -> None:
    model_file = write_face_model(tmp_path)
    finder = load_finder(load_spec(str(model_file), weights_dir=tmp_path), weights_dir=tmp_path)
    store = MemoryStore(BUCKET)
    for number in range(4):
        faces = [DrawnFace(person=number + n, column=9 * n) for n in range(number)]
        store.put(BUCKET, f"{number}.png", picture(faces))

    class Alone:
        """The same finder, which does not tell that it knows steps."""

        min_side_px = finder.min_side_px

        def find_views(self, rgb: Pixels, *, check_time: Callable[[], None] = never_late) -> Sequence[View]:
            return finder.find_views(rgb, check_time=check_time)

    for one, other in zip(search(store, finder), search(store, Alone()), strict=True):
        assert isinstance(one, Prepared)
        assert isinstance(other, Prepared)
        assert one.ref == other.ref
        assert [(v.box, v.face) for v in one.views] == [(v.box, v.face) for v in other.views]
        for view, same in zip(one.views, other.views, strict=True):
            assert np.array_equal(view.pixels, same.pixels)


def test_time_of_other_pictures_is_not_that_of_one() -> None:
    now = 0.0
    deadline = Deadline(10, now=lambda: now)
    now = 9.0
    deadline.pause()
    now = 100.0
    deadline.resume()
    now = 101.0
    deadline.check_time()
    now = 101.5
    with pytest.raises(ImageError):
        deadline.check_time()


def test_a_picture_that_is_slow_ends_alone() -> None:
    """It burns processor time, as the deadline counts no other, until the deadline ends it."""

    class SlowOnce(Steps):
        def find_in_steps(self, rgb: Pixels, *, check_time: Callable[[], None] = never_late) -> Finding:
            yield
            while rgb.shape[1] == 21:
                check_time()
            check_time()
            return ()

    outcomes = search(store_of(20, 21, 22), SlowOnce(), replace(LIMITS, decode_deadline_s=0.2))
    assert [type(outcome) for outcome in outcomes] == [Prepared, Rejected, Prepared]
