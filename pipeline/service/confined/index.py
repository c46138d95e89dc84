"""The index as one caller sees it."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.ports import VectorIndex
from pipeline.service.confined.scope import Scope
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


class ConfinedIndex:
    """Implements `ports.VectorIndex`. A collection of another tenant does not exist here.

    Every method also raises ArgumentError and DeniedError, as `Scope.stored` does.
    """

    def __init__(self, index: VectorIndex, scope: Scope) -> None:
        self._index = index
        self._scope = scope

    def create_collection(self, name: str, model: ModelSpec) -> CollectionInfo:
        with self._scope.words():
            return self._scope.seen_info(self._index.create_collection(self._scope.stored(name), model))

    def open_generation(self, name: str, model: ModelSpec) -> CollectionInfo:
        with self._scope.words():
            return self._scope.seen_info(self._index.open_generation(self._scope.stored(name), model))

    def promote(self, ref: CollectionRef) -> None:
        with self._scope.words():
            self._index.promote(self._scope.stored_ref(ref))

    def drop_generation(self, ref: CollectionRef) -> None:
        with self._scope.words():
            self._index.drop_generation(self._scope.stored_ref(ref))

    def drop_collection(self, name: str) -> None:
        with self._scope.words():
            self._index.drop_collection(self._scope.stored(name))

    def live(self, name: str, *, latest: bool = False) -> CollectionRef:
        with self._scope.words():
            return self._scope.seen_ref(self._index.live(self._scope.stored(name), latest=latest))

    def get_collection(self, name: str) -> CollectionInfo | None:
        with self._scope.words():
            info = self._index.get_collection(self._scope.stored(name))
        return self._scope.seen_info(info) if info else None

    def get_generation(self, ref: CollectionRef) -> CollectionInfo | None:
        with self._scope.words():
            info = self._index.get_generation(self._scope.stored_ref(ref))
        return self._scope.seen_info(info) if info else None

    def list_collections(self) -> list[CollectionInfo]:
        infos = [info for info in self._index.list_collections() if self._scope.holds(info.name)]
        return [self._scope.seen_info(info) for info in infos]

    def list_generations(self, name: str) -> list[CollectionInfo]:
        with self._scope.words():
            infos = self._index.list_generations(self._scope.stored(name))
        return [self._scope.seen_info(info) for info in infos]

    def model_of(self, ref: CollectionRef) -> BoundModel:
        with self._scope.words():
            return self._index.model_of(self._scope.stored_ref(ref))

    def check_generation(self, ref: CollectionRef) -> None:
        with self._scope.words():
            self._index.check_generation(self._scope.stored_ref(ref))

    def replace_images(self, ref: CollectionRef, images: Mapping[str, Sequence[IndexRow]]) -> None:
        with self._scope.words():
            self._index.replace_images(self._scope.stored_ref(ref), images)

    def delete_images(self, ref: CollectionRef, image_ids: Sequence[str]) -> None:
        with self._scope.words():
            self._index.delete_images(self._scope.stored_ref(ref), image_ids)

    def get_versions(
        self, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
    ) -> Mapping[str, StoredVersion]:
        with self._scope.words():
            return self._index.get_versions(self._scope.stored_ref(ref), image_ids, latest=latest)

    def get_images(
        self, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
    ) -> Mapping[str, Sequence[IndexRow]]:
        with self._scope.words():
            return self._index.get_images(self._scope.stored_ref(ref), image_ids, latest=latest)

    def get_rows(
        self, ref: CollectionRef, ids: Sequence[str], *, latest: bool = True, embedding: str = ""
    ) -> list[IndexRow]:
        with self._scope.words():
            target = self._scope.stored_ref(ref)
            return self._index.get_rows(target, ids, latest=latest, embedding=embedding)

    def list_images(self, ref: CollectionRef, *, start_after: str = "") -> Iterator[IndexedImage]:
        with self._scope.words():
            return self._index.list_images(self._scope.stored_ref(ref), start_after=start_after)

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
        with self._scope.words():
            target = self._scope.stored_ref(ref)
            return self._index.search(
                target, vectors, k=k, where=where, min_score=min_score, embedding=embedding
            )

    def flush(self, ref: CollectionRef) -> None:
        with self._scope.words():
            self._index.flush(self._scope.stored_ref(ref))
