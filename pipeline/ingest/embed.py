"""From pixels to vectors: groups of views through the device."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ports import ImageEmbedder
from pipeline.types import (
    Embedded,
    FailedAt,
    Pixels,
    Prepared,
    Reason,
    Rejected,
    Vector,
    View,
    view_metadata,
)

NONE_BESIDE: Mapping[str, ImageEmbedder] = MappingProxyType({})
NO_VECTORS: Mapping[str, Vector] = MappingProxyType({})


def embed_all(
    outcomes: Iterable[Prepared | Embedded | Rejected],
    embedder: ImageEmbedder,
    group_items: int,
    clock: PhaseClock,
    *,
    beside: Mapping[str, ImageEmbedder] = NONE_BESIDE,
) -> Iterator[Embedded | Rejected]:
    """Embed prepared images and pass the rest through. Nothing is lost and nothing is added.

    Args:
        group_items: views in one call of the model, of however many images.
        beside: the models beside the first, by the names that the views have their inputs under.
    """
    group = _Group(embedder, beside, clock)
    for outcome in _timed(outcomes, clock):
        if not isinstance(outcome, Prepared):
            yield outcome
            continue
        image = _Image(outcome)
        if not outcome.views:
            yield image.outcome()
        for view in outcome.views:
            group.add(view, image)
            if len(group) == group_items:
                yield from group.embed()
    yield from group.embed()


class _Image:
    """An image some of whose views are embedded."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._vectors: list[Vector] = []
        self._beside = NO_VECTORS  # of its one view: a model of parts of an image has none beside it

    def take(self, vector: Vector, beside: Mapping[str, Vector]) -> bool:
        """Returns whether it was the last one."""
        self._vectors.append(vector)
        self._beside = beside
        return len(self._vectors) == len(self._prepared.views)

    def outcome(self) -> Embedded | Rejected:
        prepared = self._prepared
        if not all(map(_is_direction, self._vectors)):
            return _not_finite(prepared)
        for name, vector in self._beside.items():
            if not _is_direction(vector):
                return _not_finite(prepared, f" for embedding {name!r}")
        return Embedded(
            ref=prepared.ref,
            vectors=tuple(self._vectors),
            width=prepared.width,
            height=prepared.height,
            metadata=prepared.metadata,
            of_views=tuple(map(view_metadata, prepared.views)),
            beside=dict(self._beside),
        )


class _Group:
    """Views that go through each model at once."""

    def __init__(
        self, embedder: ImageEmbedder, beside: Mapping[str, ImageEmbedder], clock: PhaseClock
    ) -> None:
        self._embedder = embedder
        self._beside = beside
        self._clock = clock
        self._views: list[tuple[View, _Image]] = []

    def __len__(self) -> int:
        return len(self._views)

    def add(self, view: View, image: _Image) -> None:
        self._views.append((view, image))

    def embed(self) -> list[Embedded | Rejected]:
        """Empty the group. Returns the images that are complete with it."""
        views, self._views = self._views, []
        if not views:
            return []
        vectors = self._ask(self._embedder, [view.pixels for view, _ in views])
        beside = {
            name: self._ask(embedder, [view.beside[name] for view, _ in views])
            for name, embedder in self._beside.items()
        }
        return [
            image.outcome()
            for place, (_, image) in enumerate(views)
            if image.take(vectors[place], {name: rows[place] for name, rows in beside.items()})
        ]

    def _ask(self, embedder: ImageEmbedder, inputs: Sequence[Pixels]) -> NDArray[np.float32]:
        pixels = np.stack(inputs)
        with self._clock.measure("device"):
            return embedder.embed_images(pixels)


def _is_direction(vector: Vector) -> bool:
    return bool(np.isfinite(vector).all() and vector.any())  # a zero vector is near to nothing and everything


def _not_finite(prepared: Prepared, of_embedding: str = "") -> Rejected:
    return Rejected(
        ref=prepared.ref,
        stage=FailedAt.EMBED,
        reason=Reason.NOT_FINITE,
        detail=f"the model's answer for this image{of_embedding} is NaN, infinite or zero",
    )


def _timed(
    outcomes: Iterable[Prepared | Embedded | Rejected], clock: PhaseClock
) -> Iterator[Prepared | Embedded | Rejected]:
    """The same outcomes. The time spent waiting for each is the device's idle time."""
    iterator = iter(outcomes)
    while True:
        with clock.measure("wait"):
            outcome = next(iterator, None)
        if outcome is None:
            return
        yield outcome
