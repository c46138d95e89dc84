"""VectorIndex in memory: numpy, exact, gone with the process. For tests; the others' yardstick."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, TargetError
from pipeline.names import check_stored_name
from pipeline.ports import misfit_of
from pipeline.ports.image_rows import check_rows, image_id_of_row, rows_by_image, stored_versions
from pipeline.ports.model_binding import (
    bound_model,
    check_binding,
    check_first,
    check_target,
    missing_collection,
    missing_generation,
    refuse_live,
)
from pipeline.search.ranking import best_first, check_query, one_of_each_image, to_score
from pipeline.testing.memory_filter import matches
from pipeline.types import (
    BoundModel,
    CollectionInfo,
    CollectionRef,
    IndexedImage,
    IndexRow,
    ModelSpec,
    SearchFilter,
    SearchHit,
    StoredVersion,
)


@dataclass(slots=True)
class _Generation:
    info: CollectionInfo
    rows: dict[str, IndexRow] = field(default_factory=dict)


class MemoryIndex:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._generations: dict[str, _Generation] = {}  # by the name of the generation
        self._live: dict[str, CollectionRef] = {}  # by the name of the collection
        self._lock = threading.RLock()

    def create_collection(self, name: str, model: ModelSpec) -> CollectionInfo:
        check_stored_name(name)
        with self._lock:
            if live := self.get_collection(name):
                check_target(live, model)
            return self.open_generation(name, model)

    def open_generation(self, name: str, model: ModelSpec) -> CollectionInfo:
        info = _bind(check_stored_name(name), model)
        with self._lock:
            found = self._generations.setdefault(info.ref.generation, _Generation(info))
            check_binding(found.info, model)
            self._live.setdefault(name, found.info.ref)
            return self._to_info(found)

    def promote(self, ref: CollectionRef) -> None:
        with self._lock:
            self._live[ref.name] = self._get(ref).info.ref

    def drop_generation(self, ref: CollectionRef) -> None:
        with self._lock:
            self._get(ref)
            if self._live.get(ref.name) == ref:
                raise refuse_live(ref)
            del self._generations[ref.generation]

    def drop_collection(self, name: str) -> None:
        with self._lock:
            self.live(name)
            del self._live[name]
            for info in self.list_generations(name):
                del self._generations[info.ref.generation]

    def live(self, name: str, *, latest: bool = False) -> CollectionRef:  # noqa: ARG002
        with self._lock:
            ref = self._live.get(name)
        if ref is None:
            raise TargetError(missing_collection(name))
        return ref

    def get_collection(self, name: str) -> CollectionInfo | None:
        with self._lock:
            ref = self._live.get(name)
            return self.get_generation(ref) if ref else None

    def get_generation(self, ref: CollectionRef) -> CollectionInfo | None:
        with self._lock:
            found = self._generations.get(ref.generation)
            return self._to_info(found) if found and found.info.ref == ref else None

    def list_collections(self) -> list[CollectionInfo]:
        with self._lock:
            return [self._to_info(self._get(self._live[name])) for name in sorted(self._live)]

    def list_generations(self, name: str) -> list[CollectionInfo]:
        with self._lock:
            infos = [self._to_info(found) for found in self._generations.values()]
        return sorted((info for info in infos if info.name == name), key=lambda info: info.fingerprint)

    def check_generation(self, ref: CollectionRef) -> None:
        with self._lock:
            self._get(ref)

    def model_of(self, ref: CollectionRef) -> BoundModel:
        with self._lock:
            info = self._get(ref).info
        return bound_model(info)

    def replace_images(self, ref: CollectionRef, images: Mapping[str, Sequence[IndexRow]]) -> None:
        with self._lock:
            generation = self._get(ref)
            check_rows(ref.name, images, has_views=generation.info.has_views)
            for row in chain.from_iterable(images.values()):
                _check_row(generation.info, row)
            self._delete(ref, list(images))
            for row in chain.from_iterable(images.values()):
                generation.rows[row.id] = replace(
                    row, vector=row.vector.astype(np.float32), metadata=dict(row.metadata)
                )

    def delete_images(self, ref: CollectionRef, image_ids: Sequence[str]) -> None:
        with self._lock:
            self._delete(ref, image_ids)

    def get_versions(
        self,
        ref: CollectionRef,
        image_ids: Sequence[str],
        *,
        latest: bool = True,  # noqa: ARG002
    ) -> Mapping[str, StoredVersion]:
        with self._lock:
            return stored_versions((row.id, row.ref.etag) for row in self._rows_of(ref, image_ids))

    def get_images(
        self,
        ref: CollectionRef,
        image_ids: Sequence[str],
        *,
        latest: bool = True,  # noqa: ARG002
    ) -> Mapping[str, Sequence[IndexRow]]:
        with self._lock:
            return rows_by_image(self._rows_of(ref, image_ids))

    def get_rows(
        self,
        ref: CollectionRef,
        ids: Sequence[str],
        *,
        latest: bool = True,  # noqa: ARG002
        embedding: str = "",
    ) -> list[IndexRow]:
        check_first(ref.name, embedding)
        with self._lock:
            rows = self._get(ref).rows
            return [rows[id_] for id_ in ids if id_ in rows]

    def list_images(self, ref: CollectionRef, *, start_after: str = "") -> Iterator[IndexedImage]:
        with self._lock:
            rows = sorted(self._get(ref).rows.values(), key=lambda row: row.id)
            images = list(one_of_each_image(row.ref for row in rows))
        return (image for image in images if image.ref.image_id > start_after)

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
        with self._lock:
            generation = self._get(ref)
            rows = [row for row in generation.rows.values() if matches(row, where)]
        check_first(ref.name, embedding)
        check_query(ref.name, generation.info.dim, vectors, k)
        if not rows:
            return [[] for _ in vectors]
        cosines = _unit(vectors) @ _unit(np.stack([row.vector for row in rows])).T
        return [best_first(map(_to_hit, rows, cosine), k=k, min_score=min_score) for cosine in cosines]

    def flush(self, ref: CollectionRef) -> None:
        self.check_generation(ref)

    def _get(self, ref: CollectionRef) -> _Generation:
        found = self._generations.get(ref.generation)
        if found is None or found.info.ref != ref:
            raise missing_generation(ref, self.get_collection(ref.name))
        return found

    def _delete(self, ref: CollectionRef, image_ids: Sequence[str]) -> None:
        rows = self._get(ref).rows
        for row in self._rows_of(ref, image_ids):
            del rows[row.id]

    def _rows_of(self, ref: CollectionRef, image_ids: Sequence[str]) -> list[IndexRow]:
        """In order of their ids."""
        generation, wanted = self._get(ref), set(image_ids)
        if generation.info.has_views:
            found = (row for row in generation.rows.values() if image_id_of_row(row.id) in wanted)
        else:
            found = (generation.rows[id_] for id_ in wanted if id_ in generation.rows)
        return sorted(found, key=lambda row: row.id)

    def _to_info(self, found: _Generation) -> CollectionInfo:
        is_live = self._live.get(found.info.name) == found.info.ref
        return replace(
            found.info,
            rows=len(found.rows),
            live=is_live,
            beside={
                embedding: replace(info, rows=len(found.rows), live=is_live)
                for embedding, info in found.info.beside.items()
            },
        )


def _bind(name: str, model: ModelSpec) -> CollectionInfo:
    return CollectionInfo(
        name=name,
        model_name=model.name,
        model_address=model.address,
        fingerprint=model.fingerprint,
        dim=model.dim,
        vector_type="float32",
        precision="float32",
        rows=0,
        has_views=model.has_views,
        reads_text=model.reads_text,
        beside={each.name: _bind(name, each.spec) for each in model.beside},
        int8=model.int8,
    )


def _check_row(info: CollectionInfo, row: IndexRow) -> None:
    if row.vector.shape != (info.dim,):
        raise ConfigError(
            f"collection {info.name!r} holds vectors of {info.dim} numbers; "
            f"the row of {row.ref.key!r} has shape {row.vector.shape}"
        )
    if misfit := misfit_of(row.ref, row.metadata):
        raise ConfigError(f"{row.ref.key!r:.60}: {misfit}")


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length == 0, 1, length)).astype(np.float32)


def _to_hit(row: IndexRow, cosine: np.float32) -> SearchHit:
    return SearchHit(
        id=row.id,
        bucket=row.ref.bucket,
        key=row.ref.key,
        etag=row.ref.etag,
        score=to_score(float(cosine)),
        width=row.width,
        height=row.height,
        size_bytes=row.ref.size_bytes,
        indexed_at=row.indexed_at,
        metadata=row.metadata,
    )
