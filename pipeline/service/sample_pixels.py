"""The pixels of some images of a source, as a model takes them."""

import heapq
import random
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.prepare import prepare_all
from pipeline.ingest.selection import Selection
from pipeline.location import parse_location
from pipeline.ports import Concurrency, ImageLimits, ObjectStore
from pipeline.types import ObjectRef, Prepared, Preprocessing


def sample_pixels(
    source: str,
    store: ObjectStore,
    preprocessing: Preprocessing,
    limits: ImageLimits,
    concurrency: Concurrency,
    *,
    images: int,
) -> NDArray[np.uint8]:
    """[N, 3, S, S] of images by chance, the same for the same source. Fewer where some cannot be read.

    Args:
        source: a folder, or s3://bucket/prefix.
    """
    location = parse_location(source)
    refs = sample_refs(store.list_objects(location.bucket, location.prefix), images)
    outcomes = prepare_all(refs, store, preprocessing, limits, PhaseClock(), concurrency=concurrency)
    pixels = [outcome.views[0].pixels for outcome in outcomes if isinstance(outcome, Prepared)]
    side = preprocessing.crop
    return np.stack(pixels) if pixels else np.empty((0, 3, side, side), np.uint8)


def sample_refs(listed: Iterator[ObjectRef], images: int) -> Sequence[ObjectRef]:
    """As many by chance. The listing is read to its end, and so many are kept."""
    selection, chance = Selection(), random.Random(0)  # noqa: S311  # a sample, and no secret
    drawn = ((chance.random(), ref.key, ref) for ref in listed if selection.wants(ref))
    return [ref for _, _, ref in heapq.nsmallest(images, drawn, key=lambda draw: draw[:2])]
