"""From pixels to vectors: groups of images through the device."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ports import Embedder
from pipeline.types import Embedded, FailedAt, Prepared, Reason, Rejected, Vector


def embed_all(
    outcomes: Iterable[Prepared | Embedded | Rejected],
    embedder: Embedder,
    group_items: int,
    clock: PhaseClock,
) -> Iterator[Embedded | Rejected]:
    """Embed prepared images in groups and pass the rest through; nothing is lost and nothing is added."""
    group: list[Prepared] = []
    for outcome in _timed(outcomes, clock):
        if not isinstance(outcome, Prepared):
            yield outcome
            continue
        group.append(outcome)
        if len(group) == group_items:
            yield from embed_group(group, embedder, clock)
            group = []
    if group:
        yield from embed_group(group, embedder, clock)


def embed_group(
    group: Sequence[Prepared], embedder: Embedder, clock: PhaseClock
) -> list[Embedded | Rejected]:
    pixels = np.stack([prepared.pixels for prepared in group])
    with clock.measure("device"):
        vectors = embedder.embed_images(pixels)
    return [
        _embedded(prepared, vector) if _is_direction(vector) else _not_finite(prepared)
        for prepared, vector in zip(group, vectors, strict=True)
    ]


def _is_direction(vector: Vector) -> bool:
    return bool(np.isfinite(vector).all() and vector.any())  # a zero vector is near to nothing and everything


def _embedded(prepared: Prepared, vector: Vector) -> Embedded:
    return Embedded(
        ref=prepared.ref,
        vector=vector,
        width=prepared.width,
        height=prepared.height,
        metadata=prepared.metadata,
    )


def _not_finite(prepared: Prepared) -> Rejected:
    return Rejected(
        ref=prepared.ref,
        stage=FailedAt.EMBED,
        reason=Reason.NOT_FINITE,
        detail="the model's answer for this image is NaN, infinite or zero",
    )


def _timed(
    outcomes: Iterable[Prepared | Embedded | Rejected], clock: PhaseClock
) -> Iterator[Prepared | Embedded | Rejected]:
    """The same outcomes; the time spent waiting for each is the device's idle time."""
    iterator = iter(outcomes)
    while True:
        with clock.measure("wait"):
            outcome = next(iterator, None)
        if outcome is None:
            return
        yield outcome
