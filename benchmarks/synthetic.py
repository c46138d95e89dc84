"""A world whose only limits are those of the code under test: endless listings, a free model and index."""

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ImageError
from pipeline.types import (
    BoundModel,
    CollectionInfo,
    CollectionRef,
    FetchedObject,
    IndexedImage,
    IndexRow,
    ModelSpec,
    ObjectRef,
    Preprocessing,
    Reason,
    SearchFilter,
    SearchHit,
    StoredVersion,
)

BUCKET = "synthetic"
DIM = 512  # of ResNet-18
READY_VECTORS = 1024  # drawn once and handed out in turn: drawing would cost more than the rest


def free_spec(*, resize: int = 256, crop: int = 224) -> ModelSpec:
    return ModelSpec(
        name="free",
        address="free",
        architecture="free",
        fingerprint="f4" * 32,
        dim=DIM,
        preprocessing=Preprocessing(
            resize=resize, crop=crop, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
        ),
    )


def unit_vectors(count: int, seed: int, dim: int = DIM) -> NDArray[np.float32]:
    """[count, dim], random directions of unit length."""
    vectors = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


class FreeEmbedder:
    """ImageEmbedder whose vectors lie ready: what is left is the cost of everything but the model."""

    def __init__(self, spec: ModelSpec | None = None) -> None:
        self.spec = spec or free_spec()
        self.device = "cpu"
        self._vectors = unit_vectors(READY_VECTORS, seed=1, dim=self.spec.dim)

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._vectors[np.arange(len(pixels)) % READY_VECTORS]


class SleepingEmbedder:
    """Embedder that takes its time and no core: it shows what is lost between batches and nothing else."""

    def __init__(self, inner: FreeEmbedder, seconds_per_image: float) -> None:
        self.spec, self.device = inner.spec, inner.device
        self._inner = inner
        self._seconds_per_image = seconds_per_image

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        time.sleep(len(pixels) * self._seconds_per_image)
        return self._inner.embed_images(pixels)


class EndlessStore:
    """ObjectStore of `count` objects that share a few bodies: it takes no memory for an object.

    Args:
        prefix: of every key, so that two stores list different objects.
    """

    def __init__(self, bodies: Sequence[bytes], count: int, prefix: str = "") -> None:
        self._bodies = bodies
        self._count = count
        self._prefix = prefix

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        for number in range(self._count):
            key = f"{self._prefix}{number:09d}.jpg"
            if key > (start_after or "") and key.startswith(prefix):
                yield self._ref(bucket, key, number)

    def stat(self, bucket: str, key: str) -> ObjectRef:
        number = int(key.removeprefix(self._prefix).removesuffix(".jpg"))
        if number >= self._count:
            raise ImageError(Reason.NOT_FOUND, f"there are {self._count} objects")
        return self._ref(bucket, key, number)

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        number = int(ref.key.removeprefix(self._prefix).removesuffix(".jpg"))
        return FetchedObject(body=self._bodies[number % len(self._bodies)])

    def get_metadata(self, ref: ObjectRef) -> Mapping[str, str]:
        return {}

    def put(self, bucket: str, key: str, body: bytes) -> None:
        raise NotImplementedError("the objects are made up")

    def delete(self, bucket: str, key: str) -> None:
        raise NotImplementedError("the objects are made up")

    def _ref(self, bucket: str, key: str, number: int) -> ObjectRef:
        body = self._bodies[number % len(self._bodies)]
        return ObjectRef(bucket=bucket, key=key, etag="1", size_bytes=len(body))


class ForgetfulIndex:
    """VectorIndex that counts rows and keeps none, so that memory which grows is the pipeline's own."""

    def __init__(self) -> None:
        self.rows = 0

    def create_collection(self, name: str, model: ModelSpec) -> CollectionInfo:
        return CollectionInfo(
            name=name,
            model_name=model.name,
            model_address=model.address,
            fingerprint=model.fingerprint,
            dim=model.dim,
            vector_type="float32",
            precision="float32",
            rows=self.rows,
        )

    def open_generation(self, name: str, model: ModelSpec) -> CollectionInfo:
        return self.create_collection(name, model)

    def promote(self, ref: CollectionRef) -> None:
        """There is one."""

    def drop_generation(self, ref: CollectionRef) -> None:
        self.rows = 0

    def drop_collection(self, name: str) -> None:
        self.rows = 0

    def live(self, name: str, *, latest: bool = False) -> CollectionRef:
        return CollectionRef(name=name, fingerprint=free_spec().fingerprint)

    def get_collection(self, name: str) -> CollectionInfo | None:
        return None

    def get_generation(self, ref: CollectionRef) -> CollectionInfo | None:
        return None

    def list_collections(self) -> list[CollectionInfo]:
        return []

    def list_generations(self, name: str) -> list[CollectionInfo]:
        return []

    def check_generation(self, ref: CollectionRef) -> None:
        """Any will do."""

    def model_of(self, ref: CollectionRef) -> BoundModel:
        return BoundModel(name=free_spec().name, dim=free_spec().dim, fingerprint=free_spec().fingerprint)

    def replace_images(self, ref: CollectionRef, images: Mapping[str, Sequence[IndexRow]]) -> None:
        self.rows += sum(map(len, images.values()))

    def delete_images(self, ref: CollectionRef, image_ids: Sequence[str]) -> None:
        """There is nothing to delete."""

    def get_versions(
        self, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
    ) -> Mapping[str, StoredVersion]:
        return {}

    def get_images(
        self, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
    ) -> Mapping[str, Sequence[IndexRow]]:
        return {}

    def get_rows(
        self, ref: CollectionRef, ids: Sequence[str], *, latest: bool = True, embedding: str = ""
    ) -> list[IndexRow]:
        return []

    def list_images(self, ref: CollectionRef, *, start_after: str = "") -> Iterator[IndexedImage]:
        return iter(())

    def search(
        self,
        ref: CollectionRef,
        vectors: NDArray[np.float32],
        *,
        k: int,
        where: SearchFilter | None = None,
        min_score: float | None = None,
        embedding: str = "",
    ) -> list[list[SearchHit]]:
        return [[] for _ in vectors]

    def flush(self, ref: CollectionRef) -> None:
        """There is nothing to settle."""
