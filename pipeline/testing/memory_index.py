"""VectorIndex in memory: numpy, exact, gone with the process. For tests; the others' yardstick."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, TargetError
from pipeline.names import check_collection_name
from pipeline.ports.model_binding import check_binding, missing_collection
from pipeline.search.ranking import best_first, check_query, to_score
from pipeline.types import CollectionInfo, IndexRow, ModelSpec, ObjectRef, SearchFilter, SearchHit


@dataclass(slots=True)
class _Collection:
    info: CollectionInfo
    rows: dict[str, IndexRow] = field(default_factory=dict)


class MemoryIndex:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._collections: dict[str, _Collection] = {}
        self._lock = threading.RLock()

    def create_collection(self, name: str, model: ModelSpec) -> CollectionInfo:
        check_collection_name(name)
        with self._lock:
            if name not in self._collections:
                self._collections[name] = _Collection(_bind(name, model))
            info = self._collections[name].info
        _check_model(info, model)
        return info

    def check_model(self, name: str, model: ModelSpec) -> None:
        with self._lock:
            info = self._get(name).info
        _check_model(info, model)

    def get_collection(self, name: str) -> CollectionInfo | None:
        with self._lock:
            collection = self._collections.get(name)
            return replace(collection.info, rows=len(collection.rows)) if collection else None

    def list_collections(self) -> list[CollectionInfo]:
        with self._lock:
            found = [self.get_collection(name) for name in sorted(self._collections)]
        return [info for info in found if info is not None]

    def drop_collection(self, name: str) -> None:
        with self._lock:
            self._get(name)
            del self._collections[name]

    def upsert(self, name: str, rows: Sequence[IndexRow]) -> None:
        with self._lock:
            collection = self._get(name)
            for row in rows:
                _check_row(collection.info, row)
            for row in rows:
                collection.rows[row.id] = replace(
                    row, vector=row.vector.astype(np.float32), metadata=dict(row.metadata)
                )

    def delete(self, name: str, ids: Sequence[str]) -> None:
        with self._lock:
            collection = self._get(name)
            for id_ in ids:
                collection.rows.pop(id_, None)

    def get_etags(self, name: str, ids: Sequence[str], *, latest: bool = True) -> Mapping[str, str]:
        return {row.id: row.ref.etag for row in self.get_rows(name, ids, latest=latest)}

    def get_rows(self, name: str, ids: Sequence[str], *, latest: bool = True) -> list[IndexRow]:  # noqa: ARG002
        with self._lock:
            rows = self._get(name).rows
            return [rows[id_] for id_ in ids if id_ in rows]

    def list_ids(self, name: str) -> Iterator[str]:
        with self._lock:
            return iter(sorted(self._get(name).rows))

    def list_versions(self, name: str, *, start_after: str = "") -> Iterator[ObjectRef]:
        with self._lock:
            found = {row.ref.image_id: row.ref for row in self._get(name).rows.values()}
        return iter([found[image_id] for image_id in sorted(found) if image_id > start_after])

    def search(
        self,
        name: str,
        vectors: NDArray[np.float32],
        *,
        k: int,
        where: SearchFilter | None = None,
        min_score: float | None = None,
    ) -> list[list[SearchHit]]:
        with self._lock:
            collection = self._get(name)
            rows = [row for row in collection.rows.values() if matches(row, where)]
        check_query(name, collection.info.dim, vectors, k)
        if not rows:
            return [[] for _ in vectors]
        cosines = _unit(vectors) @ _unit(np.stack([row.vector for row in rows])).T
        return [best_first(map(_to_hit, rows, cosine), k=k, min_score=min_score) for cosine in cosines]

    def flush(self, name: str) -> None:
        with self._lock:
            self._get(name)

    def _get(self, name: str) -> _Collection:
        try:
            return self._collections[name]
        except KeyError as err:
            raise TargetError(missing_collection(name)) from err


def matches(row: IndexRow, where: SearchFilter | None) -> bool:
    """The meaning of a filter, which expressions must share."""
    return where is None or (
        row.ref.key.startswith(where.key_prefix)
        and where.bucket in ("", row.ref.bucket)
        and where.metadata.items() <= row.metadata.items()
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
    )


def _check_model(info: CollectionInfo, model: ModelSpec) -> None:
    check_binding(info.name, info.model_name, info.fingerprint, model)


def _check_row(info: CollectionInfo, row: IndexRow) -> None:
    if row.vector.shape != (info.dim,):
        raise ConfigError(
            f"collection {info.name!r} holds vectors of {info.dim} numbers; "
            f"the row of {row.ref.key!r} has shape {row.vector.shape}"
        )


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
