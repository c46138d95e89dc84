"""What the unit tests stand on: tiny pictures, a model of thirteen numbers, a job's request."""

import dataclasses
import io
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import PictorError
from pipeline.ingest.message import encode_batch
from pipeline.ports import Concurrency, Deps, ImageLimits
from pipeline.types import (
    WORKERS,
    CollectionRef,
    EmbedBatch,
    JobRequest,
    ModelSpec,
    ObjectRef,
    PlannedBatch,
    Preprocessing,
    Reason,
    SearchFilter,
    embedded_on,
)
from tests.index_rows import ids_in
from workers.identity import Identity

SIDE = 8
BUCKET = "photos"
COLLECTION = "images"
HERE = embedded_on("this-host")
SPEC = ModelSpec(
    name="fake",
    address="fake",
    architecture="fake",
    fingerprint="f0" * 32,
    dim=13,
    preprocessing=Preprocessing(
        resize=SIDE, crop=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), fit="stretch"
    ),
)
TARGET = CollectionRef(name=COLLECTION, fingerprint=SPEC.fingerprint)
OTHER_SPEC = dataclasses.replace(SPEC, name="other", address="other", fingerprint="0e" * 32)
LIMITS = ImageLimits()
CONCURRENCY = Concurrency(fetch_threads=2, decode_threads=2, group_items=2)

RED, GREEN, BLUE, WHITE, BLACK = (220, 20, 20), (20, 200, 20), (20, 20, 220), (255, 255, 255), (0, 0, 0)
Colour = tuple[int, int, int]


def jpeg(colour: Colour = RED, width: int = 16, height: int = 12) -> bytes:
    return _encode(Image.new("RGB", (width, height), colour), "JPEG")


def png(colour: Colour = RED, width: int = 16, height: int = 12) -> bytes:
    return _encode(Image.new("RGB", (width, height), colour), "PNG")


def four_quarters(colours: Sequence[Colour], *, side: int = 32, kind: str = "PNG") -> bytes:
    """A square picture of four plain squares, in reading order."""
    image, half = Image.new("RGB", (side, side)), side // 2
    for place, colour in enumerate(colours):
        left, top = half * (place % 2), half * (place // 2)
        image.paste(colour, (left, top, left + half, top + half))
    return _encode(image, kind)


def distinct_png(number: int) -> bytes:
    """Pictures whose vectors differ: a bright spot at another place and in another shade each."""
    image = Image.new("RGB", (SIDE, SIDE), (40, 40, 40))
    x, y = 2 * (number % 4), 2 * (number // 4 % 4)
    image.paste((255, 255 - number % 200, 40 + number % 200), (x, y, x + 3, y + 3))
    return _encode(image, "PNG")


def _encode(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


class FakeEmbedder:
    """The means of four quarters in three colours, and a constant so that no picture is a zero vector."""

    def __init__(self, spec: ModelSpec = SPEC) -> None:
        self.spec = spec
        self.device = "cpu"
        self.calls: list[int] = []  # group sizes
        self._errors: list[Exception] = []
        self._broken: Callable[[NDArray[np.uint8]], bool] = lambda _pixels: False
        self._answer = float("nan")
        self._lock = threading.Lock()

    def fail_next(self, error: Exception, times: int = 1) -> None:
        self._errors += [error] * times

    def answer_with(self, value: float, when: Callable[[NDArray[np.uint8]], bool]) -> None:
        """Fill the vector of each image [3, S, S] that `when` picks with one value."""
        self._answer, self._broken = value, when

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with self._lock:
            self.calls.append(len(pixels))
            if self._errors:
                raise self._errors.pop(0)
            half = pixels.shape[-1] // 2
            quarters = pixels.reshape(len(pixels), 3, 2, half, 2, half).mean(axis=(3, 5)) / 255
            vectors = np.concatenate([quarters.reshape(-1, 12) - 0.5, np.full((len(pixels), 1), 0.1)], axis=1)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors[[self._broken(image) for image in pixels]] = self._answer
            return vectors.astype(np.float32)


def is_dark(pixels: NDArray[np.uint8]) -> bool:
    return bool(pixels.max() < 10)


def ref_of(key: str = "a.jpg", *, etag: str = "e1", size_bytes: int = 10, bucket: str = BUCKET) -> ObjectRef:
    return ObjectRef(bucket=bucket, key=key, etag=etag, size_bytes=size_bytes)


def request_of(
    *,
    bucket: str = BUCKET,
    prefix: str = "",
    batch_items: int = 4,
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    spec: ModelSpec = SPEC,
) -> JobRequest:
    return JobRequest(
        location=f"s3://{bucket}/{prefix}",
        bucket=bucket,
        prefix=prefix,
        collection=COLLECTION,
        model_name=spec.name,
        fingerprint=spec.fingerprint,
        include=include,
        exclude=exclude,
        batch_items=batch_items,
    )


Signals = list[tuple[int, int]]  # process and number of each that was sent


def identity_of(folder: Path, *, main_pid: int = 1) -> Identity:
    """Of a process of a worker with two children."""
    return Identity(folder=folder, main_pid=main_pid, queues=("embed",), children=2, device="cpu", model=SPEC)


def plan_one_batch(deps: Deps, *keys: str, spec: ModelSpec = SPEC) -> EmbedBatch:
    """A batch of the present versions of some objects (all, when none is named), known to the ledger."""
    refs = [ref for ref in deps.store.list_objects(BUCKET) if not keys or ref.key in keys]
    job = deps.ledger.create_job(request_of(spec=spec), driver=WORKERS)
    batch = EmbedBatch(
        job_id=job.job_id,
        path="00000000",
        collection=COLLECTION,
        fingerprint=spec.fingerprint,
        refs=tuple(refs),
    )
    planned = PlannedBatch(path=batch.path, items=len(refs), body=encode_batch(batch))
    assert deps.ledger.record_plan(job.job_id, [planned], cursor=refs[-1].key, ignored=0)
    deps.ledger.finish_planning(job.job_id, ignored=0)
    return batch


def indexed_keys(deps: Deps) -> list[str]:
    rows = deps.index.get_rows(TARGET, ids_in(deps.index, TARGET))
    return sorted(row.ref.key for row in rows)


def failed_reasons(deps: Deps, job_id: str) -> dict[str, Reason]:
    return {failure.ref.key: failure.reason for failure in deps.ledger.failures(job_id)}


def first_hit(deps: Deps, vector: NDArray[np.float32]) -> str:
    [[hit]] = deps.index.search(TARGET, vector[None], k=1, where=SearchFilter())
    return hit.key


def error_of(work: Callable[[], object], kind: type[PictorError]) -> str:
    """The text of the error that `work` raises."""
    try:
        work()
    except kind as err:
        return str(err)
    raise AssertionError(f"no {kind.__name__} was raised")
