"""Pictures of searches that come at about the same time go through the model together."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TransientError
from pipeline.ports import ImageEmbedder
from pipeline.types import ModelSpec

MAX_WAIT_S = 0.005  # a picture takes some ten times as long to decode and embed
MAX_ITEMS = 8  # what a CPU computes at once; a ninth picture would double the time of the eight


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Ask:
    pixels: NDArray[np.uint8]  # [N, 3, S, S], 1 <= N <= MAX_ITEMS
    came_at: float = field(default_factory=time.monotonic)
    answer: "Future[NDArray[np.float32]]" = field(default_factory=Future)


class MicroBatches:
    """Implements `ports.ImageEmbedder` over the model of searches. Safe to share between threads.

    A thread of its own is the only one that asks the model. It takes all that came while the model was busy,
    and waits for more only while the oldest picture is younger than `max_wait_s`. Callers wait for their
    answers, so there are no more asks than threads of callers.
    """

    def __init__(
        self, embedder: ImageEmbedder, *, max_wait_s: float = MAX_WAIT_S, max_items: int = MAX_ITEMS
    ) -> None:
        self._embedder = embedder
        self._max_wait_s = max_wait_s
        self._max_items = max_items
        self._asks: deque[_Ask] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="queries", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def spec(self) -> ModelSpec:
        return self._embedder.spec

    @property
    def device(self) -> str:
        return self._embedder.device

    @property
    def waiting_items(self) -> int:
        """Pictures that the model has not begun with."""
        with self._changed:
            return self._count()

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `ports.ImageEmbedder`. A long group goes in pieces, so that others come in between.

        Raises:
            ValueError: not uint8 [N, 3, S, S]; nobody else's pictures are refused with them.
            TransientError: it is closed.
        """
        side = self.spec.preprocessing.crop
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (3, side, side):
            raise ValueError(f"pixels are {pixels.dtype} {list(pixels.shape)}, [N, 3, {side}, {side}] is due")
        starts = range(0, len(pixels), self._max_items)
        return np.concatenate([self._ask(pixels[start : start + self._max_items]) for start in starts])

    def close(self) -> None:
        """Answer those that wait, and end the thread. Safe to run twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _ask(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        ask = _Ask(pixels=pixels)
        with self._changed:
            if self._closed:
                raise TransientError("the service is ending")
            self._asks.append(ask)
            self._changed.notify_all()
        return ask.answer.result()

    def _work(self) -> None:
        while asks := self._take():
            try:
                rows = self._embedder.embed_images(np.concatenate([ask.pixels for ask in asks]))
            except BaseException as err:  # noqa: BLE001 - the top of a thread: every waiter must hear of it
                for ask in asks:
                    ask.answer.set_exception(err)
            else:
                _hand_out(rows, asks)

    def _take(self) -> Sequence[_Ask]:
        """The next group, in order of arrival; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._asks or self._closed)
            if not self._asks:
                return ()
            left_s = self._asks[0].came_at + self._max_wait_s - time.monotonic()
            self._changed.wait_for(lambda: self._closed or self._count() >= self._max_items, max(0.0, left_s))
            taken = [self._asks.popleft()]
            items = len(taken[0].pixels)
            while self._asks and items + len(self._asks[0].pixels) <= self._max_items:
                taken.append(self._asks.popleft())
                items += len(taken[-1].pixels)
            return taken

    def _count(self) -> int:
        return sum(len(ask.pixels) for ask in self._asks)


def _hand_out(rows: NDArray[np.float32], asks: Sequence[_Ask]) -> None:
    start = 0
    for ask in asks:
        end = start + len(ask.pixels)
        ask.answer.set_result(rows[start:end])
        start = end
