"""VectorIndex in a folder: Milvus Lite keeps the rows, a copy beside it answers.

For every search Milvus Lite walks over all rows in Python, and for any answer it loads them all. So it is
started to write, and only then. Reads are answered by the copy, which is in step with Lite's files or made
anew from them (decision 0046).
"""

import importlib.metadata
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.milvus import rows as milvus_rows
from pipeline.adapters.milvus.binding import Binding
from pipeline.adapters.milvus.lite.copies import LiteCopies
from pipeline.adapters.milvus.lite.exact_search import search_table
from pipeline.adapters.milvus.lite.folder import LiteFolder
from pipeline.adapters.milvus.lite.table import Table
from pipeline.errors import TargetError
from pipeline.names import check_stored_name
from pipeline.ports.image_rows import (
    check_rows,
    rows_by_image,
    stale_row_ids,
    stored_versions,
    view_row_ids,
)
from pipeline.ports.model_binding import (
    check_binding,
    check_first,
    check_target,
    missing_collection,
    missing_generation,
    refuse_live,
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


class LiteIndex:
    """Safe to share between threads. Writes queue up behind a lock, for seconds when Milvus Lite flushes.

    Reads take the rows that the copy holds at that moment. They wait for writes only while there is no copy
    in step with Lite's files.

    Args:
        path: of the folder, which is made if need be.
        vector_type, precision, timeout_s: see `MilvusIndex`.

    Raises:
        TransientError: another process has the folder open.
        ConfigError: it cannot be used.
    """

    def __init__(
        self, path: str, *, vector_type: str = "float32", precision: str = "auto", timeout_s: float = 30.0
    ) -> None:
        self._path = path
        self._vector_type = vector_type
        self._precision = precision
        self._timeout_s = timeout_s
        self._lock = threading.RLock()
        self._folder = LiteFolder(path)
        self._copies = LiteCopies(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Put everything into files and give back the folder, for the next process."""
        with self._lock:
            try:
                self._copies.close()
            finally:
                self._folder.close()

    def server_version(self) -> str:
        return f"Milvus Lite {importlib.metadata.version('milvus-lite')}"

    def create_collection(self, name: str, model: ModelSpec) -> CollectionInfo:
        check_stored_name(name)
        with self._lock:
            if live := self._folder.find_live(name):
                check_target(live.to_info(rows=0), model)
            return self.open_generation(name, model)

    def open_generation(self, name: str, model: ModelSpec) -> CollectionInfo:
        ref = CollectionRef(name=check_stored_name(name), fingerprint=model.fingerprint)
        with self._lock:
            binding = self._folder.read_binding(ref.generation)
            if binding is not None:
                check_binding(binding.to_info(rows=0), model)
            if self._folder.find_live(name) is None or not self._folder.is_complete(ref.generation):
                self._make(name, model)
            return self._to_info(self._get(ref))

    def promote(self, ref: CollectionRef) -> None:
        with self._lock:
            if self._live(ref.name) != self._get(ref).ref:
                self._copies.point_alias(ref.name, ref.generation)

    def drop_generation(self, ref: CollectionRef) -> None:
        with self._lock:
            if self._live(ref.name) == self._get(ref).ref:
                raise refuse_live(ref)
            self._copies.drop([ref.generation])

    def drop_collection(self, name: str) -> None:
        """Finishes a drop, too, that was interrupted between alias and rows."""
        with self._lock:
            doomed = [binding.physical for binding in self._folder.list_bindings(name)]
            if not doomed:
                self.live(name)  # raises, with words about the name
            self._copies.remove_alias(name)
            self._copies.drop(doomed)

    def live(self, name: str, *, latest: bool = False) -> CollectionRef:  # noqa: ARG002
        ref = self._live(name)
        if ref is None:
            raise TargetError(missing_collection(name))
        return ref

    def get_collection(self, name: str) -> CollectionInfo | None:
        binding = self._folder.find_live(name)
        return self._to_info(binding) if binding else None

    def get_generation(self, ref: CollectionRef) -> CollectionInfo | None:
        binding = self._folder.find(ref)
        return self._to_info(binding) if binding else None

    def list_collections(self) -> list[CollectionInfo]:
        names = sorted({binding.name for binding in self._folder.list_bindings()})
        found = [self.get_collection(name) for name in names]
        return [info for info in found if info is not None]

    def list_generations(self, name: str) -> list[CollectionInfo]:
        return [self._to_info(binding) for binding in self._folder.list_bindings(name)]

    def check_generation(self, ref: CollectionRef) -> None:
        self._get(ref)

    def model_of(self, ref: CollectionRef) -> BoundModel:
        return self._get(ref).model

    def replace_images(self, ref: CollectionRef, images: Mapping[str, Sequence[IndexRow]]) -> None:
        with self._lock:
            binding = self._get(ref)
            check_rows(ref.name, images, has_views=binding.has_views)
            rows = list(chain.from_iterable(images.values()))
            entities = [milvus_rows.to_entity(row, binding) for row in rows]
            self._copies.write(binding, rows, entities)
            stale = stale_row_ids(images, partial(self._row_ids, binding), has_views=binding.has_views)
            self._copies.delete(binding, stale)

    def delete_images(self, ref: CollectionRef, image_ids: Sequence[str]) -> None:
        with self._lock:
            binding = self._get(ref)
            self._copies.delete(binding, self._row_ids(binding, image_ids))

    def get_versions(
        self,
        ref: CollectionRef,
        image_ids: Sequence[str],
        *,
        latest: bool = True,  # noqa: ARG002
    ) -> Mapping[str, StoredVersion]:
        table, slots = self._find_of_images(ref, image_ids)
        return stored_versions(table.etags(slots))

    def get_images(
        self,
        ref: CollectionRef,
        image_ids: Sequence[str],
        *,
        latest: bool = True,  # noqa: ARG002
    ) -> Mapping[str, Sequence[IndexRow]]:
        table, slots = self._find_of_images(ref, image_ids)
        return rows_by_image(map(table.row, slots))

    def get_rows(
        self,
        ref: CollectionRef,
        ids: Sequence[str],
        *,
        latest: bool = True,  # noqa: ARG002
        embedding: str = "",
    ) -> list[IndexRow]:
        check_first(ref.name, embedding)
        table, slots = self._find(ref, ids)
        return [table.row(slot) for slot in slots]

    def list_images(self, ref: CollectionRef, *, start_after: str = "") -> Iterator[IndexedImage]:
        table, _ = self._find(ref, [])
        return table.images(start_after)

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
        binding = self._get(ref)
        table, _ = self._snapshot(binding)
        check_first(ref.name, embedding)
        check_query(ref.name, binding.dim, vectors, k)
        return search_table(table, vectors, k=k, where=where, min_score=min_score)

    def flush(self, ref: CollectionRef) -> None:
        """Close Milvus Lite, whose memory is then free. The next write opens it again."""
        with self._lock:
            self._get(ref)
            self._copies.settle()

    def _find(self, ref: CollectionRef, ids: Sequence[str]) -> tuple[Table, list[int]]:
        return self._snapshot(self._get(ref), ids)

    def _find_of_images(self, ref: CollectionRef, image_ids: Sequence[str]) -> tuple[Table, list[int]]:
        binding = self._get(ref)
        return self._snapshot(binding, self._row_ids(binding, image_ids))

    def _snapshot(self, binding: Binding, ids: Sequence[str] = ()) -> tuple[Table, list[int]]:
        known = self._copies.known(binding)
        found = known.snapshot(ids) if known else None
        if found is None:
            with self._lock:
                found = self._copies.get(binding).snapshot(ids)
        assert found, "only who holds the lock closes a copy"
        return found

    def _row_ids(self, binding: Binding, image_ids: Sequence[str]) -> list[str]:
        """Ids that rows of these images may have. To try them all takes 0.1 ms for each image."""
        if not binding.has_views:
            return list(image_ids)
        return [row_id for image_id in image_ids for row_id in view_row_ids(image_id)]

    def _get(self, ref: CollectionRef) -> Binding:
        binding = self._folder.find(ref)
        if binding is None:
            live = self._folder.find_live(ref.name)
            raise missing_generation(ref, live.to_info(rows=0) if live else None)
        return binding

    def _live(self, name: str) -> CollectionRef | None:
        binding = self._folder.find_live(name)
        return binding.ref if binding else None

    def _make(self, name: str, model: ModelSpec) -> None:
        """By way of pymilvus, as on a server: the folder opens with it alone."""
        from pipeline.adapters.milvus.index import MilvusIndex

        def make() -> None:
            with MilvusIndex(
                self._path,
                vector_type=self._vector_type,
                precision=self._precision,
                timeout_s=self._timeout_s,
            ) as milvus:
                milvus.open_generation(name, model)

        self._copies.run_beside(make)

    def _to_info(self, binding: Binding) -> CollectionInfo:
        is_live = self._live(binding.name) == binding.ref
        copy = self._copies.known(binding)
        if copy is None:
            with self._lock:
                copy = self._copies.get(binding)
        return binding.to_info(copy.row_count, live=is_live)
