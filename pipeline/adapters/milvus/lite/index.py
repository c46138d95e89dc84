"""VectorIndex in a folder: Milvus Lite keeps the rows, a copy beside it answers.

For every search Milvus Lite walks over all rows in Python, and for any answer it loads them all. So it is
started to write, and only then. Reads are answered by the copy, which is in step with Lite's files or made
anew from them (decision 0046).
"""

import importlib.metadata
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.milvus import rows as milvus_rows
from pipeline.adapters.milvus.binding import Binding, check_model
from pipeline.adapters.milvus.lite.copies import LiteCopies
from pipeline.adapters.milvus.lite.exact_search import search_table
from pipeline.adapters.milvus.lite.folder import LiteFolder
from pipeline.adapters.milvus.lite.table import Table
from pipeline.errors import TargetError
from pipeline.names import check_collection_name
from pipeline.ports.model_binding import missing_collection
from pipeline.search.ranking import check_query
from pipeline.types import CollectionInfo, IndexRow, ModelSpec, ObjectRef, SearchFilter, SearchHit


class LiteIndex:
    """Safe to share between threads; writes queue up behind a lock, searches do not.

    Args:
        path: of the folder, which is made if need be.
        vector_type, precision, timeout_s: see `MilvusIndex`.

    Raises:
        ConfigError: another process has the folder open, or it cannot be used.
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
        check_collection_name(name)
        with self._lock:
            if self._folder.find(name) is None:
                self._make(name, model)
            binding = self._get(name)
            check_model(binding, model)
            return self._to_info(binding)

    def get_collection(self, name: str) -> CollectionInfo | None:
        with self._lock:
            binding = self._folder.find(name)
            return self._to_info(binding) if binding else None

    def check_model(self, name: str, model: ModelSpec) -> None:
        check_model(self._get(name), model)

    def list_collections(self) -> list[CollectionInfo]:
        with self._lock:
            names = sorted({binding.name for binding in self._folder.list_bindings()})
            found = [self.get_collection(name) for name in names]
        return [info for info in found if info is not None]

    def drop_collection(self, name: str) -> None:
        """Finishes a drop, too, that was interrupted between alias and rows."""
        with self._lock:
            doomed = [binding.physical for binding in self._folder.list_bindings() if binding.name == name]
            if not doomed:
                self._get(name)  # raises, with words about the name
            self._copies.drop(name, doomed)

    def upsert(self, name: str, rows: Sequence[IndexRow]) -> None:
        with self._lock:
            binding = self._get(name)
            by_id = {row.id: row for row in rows}
            entities = [milvus_rows.to_entity(row, binding) for row in by_id.values()]
            self._copies.write(binding, list(by_id.values()), entities)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        with self._lock:
            self._copies.delete(self._get(name), ids)

    def get_etags(self, name: str, ids: Sequence[str], *, latest: bool = True) -> Mapping[str, str]:  # noqa: ARG002
        with self._found(name, ids) as (table, slots):
            return table.etags(slots)

    def get_rows(self, name: str, ids: Sequence[str], *, latest: bool = True) -> list[IndexRow]:  # noqa: ARG002
        with self._found(name, ids) as (table, slots):
            return [table.row(slot) for slot in slots]

    def list_ids(self, name: str) -> Iterator[str]:
        with self._found(name, []) as (table, _):
            return iter(table.ids())

    def list_versions(self, name: str, *, start_after: str = "") -> Iterator[ObjectRef]:
        with self._found(name, []) as (table, _):
            return table.versions(start_after)

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
            binding = self._get(name)
            table = self._copies.get(binding).table()
        check_query(name, binding.dim, vectors, k)
        return search_table(table, vectors, k=k, where=where, min_score=min_score)

    def flush(self, name: str) -> None:
        """Close Milvus Lite, whose memory is then free; the next write opens it again."""
        with self._lock:
            self._get(name)
            self._copies.settle()

    @contextmanager
    def _found(self, name: str, ids: Sequence[str]) -> Iterator[tuple[Table, list[int]]]:
        with self._lock:
            copy = self._copies.get(self._get(name))
            table, slots = copy.table(), copy.find(ids)
        yield table, slots

    def _get(self, name: str) -> Binding:
        binding = self._folder.find(name)
        if binding is None:
            raise TargetError(missing_collection(name))
        return binding

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
                milvus.create_collection(name, model)

        self._copies.run_beside(make)

    def _to_info(self, binding: Binding) -> CollectionInfo:
        return binding.to_info(self._copies.get(binding).row_count)
