"""MicroBatches: pictures of several searches in one forward pass."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import FatalError, TransientError
from pipeline.search.micro_batches import MicroBatches
from tests.unit.fakes import SIDE, FakeEmbedder

ENDLESS_S = 600.0  # no test waits this long: it would fail by its own deadline
DEADLINE_S = 30.0


class HeldEmbedder(FakeEmbedder):
    """Computes when it is let, and says that it has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.begun.release()
        assert self.go_on.wait(DEADLINE_S)
        return super().embed_images(pixels)


def picture(shade: int, count: int = 1) -> NDArray[np.uint8]:
    return np.full((count, 3, SIDE, SIDE), shade, dtype=np.uint8)


def wait_until(is_so: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(int(DEADLINE_S / 0.001)):
        if is_so():
            return
        tick.wait(0.001)
    raise AssertionError("it did not come to that")


@contextmanager
def callers() -> Iterator[Callable[..., "Future[NDArray[np.float32]]"]]:
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit


def test_what_comes_while_the_model_is_busy_is_one_forward_pass() -> None:
    model = HeldEmbedder()
    with callers() as call, MicroBatches(model, max_wait_s=0) as batches:
        first = call(batches.embed_images, picture(10))
        assert model.begun.acquire(timeout=DEADLINE_S)
        others = [call(batches.embed_images, picture(shade)) for shade in (60, 120, 240)]
        wait_until(lambda: batches.waiting_items == 3)
        model.go_on.set()
        rows = [answer.result(DEADLINE_S) for answer in (first, *others)]
    assert model.calls == [1, 3]
    alone = FakeEmbedder()
    expected = [alone.embed_images(picture(shade)) for shade in (10, 60, 120, 240)]
    assert all(np.array_equal(row, wanted) for row, wanted in zip(rows, expected, strict=True))


def test_a_full_group_does_not_wait_for_more() -> None:
    model = FakeEmbedder()
    with callers() as call, MicroBatches(model, max_wait_s=ENDLESS_S, max_items=2) as batches:
        answers = [call(batches.embed_images, picture(shade)) for shade in (10, 20)]
        assert [len(answer.result(DEADLINE_S)) for answer in answers] == [1, 1]
    assert model.calls == [2]


def test_a_lone_picture_is_embedded_when_its_wait_is_over() -> None:
    with MicroBatches(FakeEmbedder()) as batches:
        assert batches.embed_images(picture(10)).shape == (1, 13)


def test_a_long_group_lets_others_come_in_between() -> None:
    model = HeldEmbedder()
    with callers() as call, MicroBatches(model, max_wait_s=0, max_items=2) as batches:
        long = call(batches.embed_images, picture(10, count=4))
        assert model.begun.acquire(timeout=DEADLINE_S)
        short = call(batches.embed_images, picture(20))
        wait_until(lambda: batches.waiting_items == 1)
        model.go_on.set()
        assert len(short.result(DEADLINE_S)) == 1
        assert len(long.result(DEADLINE_S)) == 4
    assert model.calls == [2, 1, 2]


def test_a_group_is_never_longer_than_what_is_computed_at_once() -> None:
    model = HeldEmbedder()
    with callers() as call, MicroBatches(model, max_wait_s=0, max_items=4) as batches:
        answers = [call(batches.embed_images, picture(10))]
        assert model.begun.acquire(timeout=DEADLINE_S)
        answers += [call(batches.embed_images, picture(20, count=3)) for _ in range(2)]
        wait_until(lambda: batches.waiting_items == 6)
        model.go_on.set()
        assert [len(answer.result(DEADLINE_S)) for answer in answers] == [1, 3, 3]
    assert model.calls == [1, 3, 3]


def test_a_fault_of_the_device_reaches_every_caller_and_the_next_group_is_answered() -> None:
    model = FakeEmbedder()
    model.fail_next(FatalError("the device failed"))
    with callers() as call, MicroBatches(model, max_wait_s=ENDLESS_S, max_items=2) as batches:
        answers = [call(batches.embed_images, picture(shade)) for shade in (10, 20)]
        for answer in answers:
            with pytest.raises(FatalError, match="the device failed"):
                answer.result(DEADLINE_S)
        assert len(batches.embed_images(picture(30, count=2))) == 2


def test_pixels_of_another_shape_cost_their_own_caller_alone() -> None:
    model = FakeEmbedder()
    with MicroBatches(model, max_wait_s=0) as batches:
        with pytest.raises(ValueError, match=r"\[1, 3, 2, 2\]"):
            batches.embed_images(np.zeros((1, 3, 2, 2), np.uint8))
        assert len(batches.embed_images(picture(30))) == 1


def test_close_answers_those_that_wait_and_takes_no_others() -> None:
    with callers() as call:
        batches = MicroBatches(FakeEmbedder(), max_wait_s=ENDLESS_S)
        waiting = call(batches.embed_images, picture(10))
        wait_until(lambda: batches.waiting_items == 1)
        batches.close()
        batches.close()
        assert len(waiting.result(DEADLINE_S)) == 1
        with pytest.raises(TransientError, match="is ending"):
            batches.embed_images(picture(20))
