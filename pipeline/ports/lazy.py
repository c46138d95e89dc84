"""Things that cost seconds to open, opened at their first use: a run that does not need them never pays."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.ports import ImageEmbedder, ObjectStore, TextEmbedder, ViewFinder
from pipeline.ports.embedder import Finding, find_in_steps, never_late
from pipeline.ports.passing import PassingStore
from pipeline.types import ModelSpec, View

T = TypeVar("T")


class Lazy(Generic[T]):
    """A value made once, by the first thread that asks."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._lock = threading.Lock()

    def __call__(self) -> T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]

    @property
    def made(self) -> T | None:
        """None while nobody has asked."""
        return self._made[0] if self._made else None


class LazyEmbedder:
    """Knows its model's spec from the start. The weights are loaded for the first image."""

    def __init__(self, spec: ModelSpec, load: Callable[[], ImageEmbedder]) -> None:
        self.spec = spec
        self._embedder = Lazy(load)

    @property
    def device(self) -> str:
        loaded = self._embedder.made
        return loaded.device if loaded is not None else ""

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._embedder().embed_images(pixels)


class LazyTexts:
    """The same for a text tower."""

    def __init__(self, spec: ModelSpec, load: Callable[[], TextEmbedder]) -> None:
        self.spec = spec
        self._texts = Lazy(load)

    @property
    def max_tokens(self) -> int:
        return self._texts().max_tokens

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        return self._texts().count_tokens(texts)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._texts().embed_texts(texts)


class LazyFinder:
    """A finder that is loaded for the first picture: a worker of the embed tier never needs it."""

    def __init__(self, load: Callable[[], ViewFinder]) -> None:
        self._finder = Lazy(load)

    @property
    def min_side_px(self) -> int:
        return self._finder().min_side_px

    def find_views(
        self, rgb: NDArray[np.uint8], *, check_time: Callable[[], None] = never_late
    ) -> Sequence[View]:
        return self._finder().find_views(rgb, check_time=check_time)

    def find_in_steps(
        self, rgb: NDArray[np.uint8], *, check_time: Callable[[], None] = never_late
    ) -> Finding:
        return find_in_steps(self._finder(), rgb, check_time=check_time)


class LazyStore(PassingStore):
    """An S3 client for whoever turns out to need one."""

    def __init__(self, open_store: Callable[[], ObjectStore]) -> None:
        super().__init__(Lazy(open_store))
