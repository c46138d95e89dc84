"""VectorIndex of several embeddings of each image, in front of one that keeps a single vector in a row.

The first embedding of a generation is where it would be alone. Each further one is a part: a collection of
its own below, under a name that no caller can give and no listing shows. The record of the first says which
parts there are.

    open     the first → the parts
    write    the parts → the first
    delete   the parts → the first
    drop     the parts → the first

A process may be killed at any arrow. While the first is there, so is the record, and the next one that does
the same finds the parts. Versions and listings are those of all embeddings together: an image that only some
of them have, or have in another version, is in no version, so it is written or deleted once more.

Where there is one embedding alone, every call goes through as it is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.beside.merge import merge_listings, merge_rows, merge_versions
from pipeline.adapters.beside.parts import (
    Part,
    check_embeddings,
    check_models,
    part_ref,
    part_spec,
    parts_of,
    refuse_embeddings,
    rows_of_first,
    rows_of_part,
)
from pipeline.errors import TargetError
from pipeline.names import check_collection_name, is_beside_name
from pipeline.ports import VectorIndex
from pipeline.ports.model_binding import (
    missing_collection,
    missing_generation,
    refuse_live,
    unknown_embedding,
)
from pipeline.search.ranking import check_query
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

T = TypeVar("T")


class BesideIndex:
    """Safe to share between threads. Args: `index` is the one below."""

    def __init__(self, index: VectorIndex) -> None:
        self._index = index
        # Never stale: another fingerprint is another generation.
        self._known: dict[CollectionRef, tuple[Part, ...]] = {}

    def create_collection(self, name: str, model: ModelSpec) -> CollectionInfo:
        check_models(model)
        info = self._index.create_collection(check_collection_name(name), model)
        self._open_parts(info.ref, model)
        return info

    def open_generation(self, name: str, model: ModelSpec) -> CollectionInfo:
        check_models(model)
        info = self._index.open_generation(check_collection_name(name), model)
        self._open_parts(info.ref, model)
        return info

    def promote(self, ref: CollectionRef) -> None:
        for part in self._parts(ref):
            if self._index.get_generation(part.ref) is None:
                raise _gone(ref, part)
        self._index.promote(ref)

    def drop_generation(self, ref: CollectionRef) -> None:
        if parts := self._parts(ref):
            live = self._index.get_collection(ref.name)
            if live is not None and live.ref == ref:
                raise refuse_live(ref)
            self._drop(parts)
        self._index.drop_generation(ref)

    def drop_collection(self, name: str) -> None:
        _refuse_part(name)
        for info in self._index.list_generations(name):
            self._drop(self._parts(info.ref))
        self._index.drop_collection(name)

    def live(self, name: str, *, latest: bool = False) -> CollectionRef:
        _refuse_part(name)
        return self._index.live(name, latest=latest)

    def get_collection(self, name: str) -> CollectionInfo | None:
        return None if is_beside_name(name) else self._index.get_collection(name)

    def get_generation(self, ref: CollectionRef) -> CollectionInfo | None:
        return None if is_beside_name(ref.name) else self._index.get_generation(ref)

    def list_collections(self) -> list[CollectionInfo]:
        return [info for info in self._index.list_collections() if not is_beside_name(info.name)]

    def list_generations(self, name: str) -> list[CollectionInfo]:
        return [] if is_beside_name(name) else self._index.list_generations(name)

    def check_generation(self, ref: CollectionRef) -> None:
        _refuse_part(ref.name)
        self._index.check_generation(ref)

    def model_of(self, ref: CollectionRef) -> BoundModel:
        _refuse_part(ref.name)
        return self._index.model_of(ref)

    def replace_images(self, ref: CollectionRef, images: Mapping[str, Sequence[IndexRow]]) -> None:
        parts = self._parts(ref)
        if not parts:
            refuse_embeddings(ref.name, images)
            self._index.replace_images(ref, images)
            return
        check_embeddings(ref.name, self._index.model_of(ref).dim, parts, images)
        for part in parts:
            write = partial(self._index.replace_images, images=rows_of_part(images, part.embedding))
            self._in(ref, part, write)
        self._index.replace_images(ref, rows_of_first(images))

    def delete_images(self, ref: CollectionRef, image_ids: Sequence[str]) -> None:
        for part in self._parts(ref):
            self._in(ref, part, lambda target: self._index.delete_images(target, image_ids))
        self._index.delete_images(ref, image_ids)

    def get_versions(
        self, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
    ) -> Mapping[str, StoredVersion]:
        first = self._index.get_versions(ref, image_ids, latest=latest)
        if not (parts := self._parts(ref)):
            return first
        of_parts = [
            self._in(ref, part, lambda target: self._index.get_versions(target, image_ids, latest=latest))
            for part in parts
        ]
        return merge_versions([first, *of_parts])

    def get_images(
        self, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
    ) -> Mapping[str, Sequence[IndexRow]]:
        first = self._index.get_images(ref, image_ids, latest=latest)
        if not (parts := self._parts(ref)):
            return first
        beside = {
            part.embedding: self._in(
                ref, part, lambda target: self._index.get_rows(target, list(first), latest=latest)
            )
            for part in parts
        }
        return merge_rows(first, beside)

    def get_rows(
        self, ref: CollectionRef, ids: Sequence[str], *, latest: bool = True, embedding: str = ""
    ) -> list[IndexRow]:
        part = self._find(ref, embedding)
        if part is None:
            return self._index.get_rows(ref, ids, latest=latest)
        return self._in(ref, part, lambda target: self._index.get_rows(target, ids, latest=latest))

    def list_images(self, ref: CollectionRef, *, start_after: str = "") -> Iterator[IndexedImage]:
        first = self._index.list_images(ref, start_after=start_after)
        if not (parts := self._parts(ref)):
            return first
        of_parts = [
            self._in(ref, part, lambda target: self._index.list_images(target, start_after=start_after))
            for part in parts
        ]
        return merge_listings([first, *of_parts])

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
        part = self._find(ref, embedding)
        if part is None:
            return self._index.search(ref, vectors, k=k, where=where, min_score=min_score)
        check_query(ref.name, part.dim, vectors, k)
        return self._in(
            ref,
            part,
            lambda target: self._index.search(target, vectors, k=k, where=where, min_score=min_score),
        )

    def flush(self, ref: CollectionRef) -> None:
        for part in self._parts(ref):
            self._in(ref, part, self._index.flush)
        self._index.flush(ref)

    def _parts(self, ref: CollectionRef) -> tuple[Part, ...]:
        """Raises TargetError, ModelMismatchError: as `check_generation`."""
        known = self._known.get(ref)
        if known is None:
            known = self._known[ref] = parts_of(ref, self.model_of(ref))
        return known

    def _find(self, ref: CollectionRef, embedding: str) -> Part | None:
        """None is the first. Raises ArgumentError: there is no such embedding."""
        parts = self._parts(ref)
        if not embedding:
            return None
        for part in parts:
            if part.embedding == embedding:
                return part
        raise unknown_embedding(ref.name, embedding, [part.embedding for part in parts])

    def _in(self, ref: CollectionRef, part: Part, operation: Callable[[CollectionRef], T]) -> T:
        """Raises TargetError, ModelMismatchError: it is gone, or the generation is, as `check_generation`."""
        try:
            return operation(part.ref)
        except TargetError as err:
            if self._index.get_generation(ref) is None:
                raise missing_generation(ref, self._index.get_collection(ref.name)) from err
            raise _gone(ref, part) from err

    def _open_parts(self, ref: CollectionRef, model: ModelSpec) -> None:
        for each in model.beside:
            self._index.create_collection(part_ref(ref, each.name).name, part_spec(model, each))

    def _drop(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if self._index.list_generations(part.ref.name):  # else a drop that was cut short took it already
                self._index.drop_collection(part.ref.name)


class Closable(VectorIndex, Protocol):
    def server_version(self) -> str: ...

    def close(self) -> None: ...


class OpenBesideIndex(BesideIndex):
    """The same over an index that has to be closed."""

    def __init__(self, index: Closable) -> None:
        super().__init__(index)
        self._open = index

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def server_version(self) -> str:
        return self._open.server_version()

    def close(self) -> None:
        self._open.close()


def _gone(ref: CollectionRef, part: Part) -> TargetError:
    return TargetError(
        f"collection {ref.name!r} has lost embedding {part.embedding!r}, because a drop of it was cut short; "
        "drop it once more, or fill it again with `pictor ingest SOURCE`"
    )


def _refuse_part(name: str) -> None:
    if is_beside_name(name):
        raise TargetError(missing_collection(name))
