"""Milvus Lite, opened to write: its own Python interface, without the server between.

A collection is never loaded here. Milvus Lite then builds no index and normalises no vectors, which it would
do again after each flush; whoever opens the folder with pymilvus loads it and has both.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pipeline.adapters.milvus.lite.folder import LiteFolder, writing_to
from pipeline.errors import ConfigError, TransientError

# A flush turns every number into a Python object, so it takes time and memory by its size. Milvus Lite's own
# limit is 128 MB: 65,000 rows of 512 in one pause of many seconds. A quarter of that costs no more in all.
FLUSH_BYTES = 32 * 2**20


class LiteWriter:
    """Not safe to share between threads: Milvus Lite merges writes without a lock of its own.

    Raises:
        TransientError: another process has the folder open.
        ConfigError: it is damaged.
    """

    def __init__(self, folder: LiteFolder) -> None:
        # Imported late: pyarrow, faiss and the rest take most of a second, and a search needs none of it. And
        # before the folder is lent, so that nobody has the time to come between.
        from milvus_lite import DataDirLockedError, MilvusLite

        self._folder = folder
        self._unflushed_bytes: dict[str, int] = {}  # by collection
        with self._translated():
            folder.lend()
            try:
                self._engine = MilvusLite(str(folder.path))
            except DataDirLockedError as err:
                raise folder.busy() from err

    def close(self) -> None:
        """Everything is in data files afterwards, and the folder is locked by this process as before."""
        with self._translated():
            self._engine.close()
        self._folder.take_back()

    def open_collection(self, physical: str) -> None:
        """After a crash, rows of the log are in data files as soon as the writer is closed."""
        with self._translated():
            self._engine.get_collection(physical)

    def write(self, physical: str, entities: Sequence[dict[str, Any]]) -> None:
        """Rows as Milvus keeps them, no id twice. A row of the same id is replaced."""
        from milvus_lite.engine.operation import InsertOp

        from pipeline.adapters.milvus.lite.batch import PARTITION, to_batch

        with self._translated():
            collection = self._engine.get_collection(physical)
            # `collection.insert` does the same, after it has looked at every number of every vector in
            # Python. That takes as long as all the rest of it.
            batch = to_batch(entities, collection._wal_data_schema, collection._next_seq)
            collection._next_seq += batch.num_rows
            collection._apply(InsertOp(partition=PARTITION, batch=batch))
            self._flush_in_time(physical, collection, batch.nbytes)

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        with self._translated():
            self._engine.get_collection(physical).delete(list(ids))

    def point_alias(self, name: str, physical: str) -> None:
        """One file is replaced as a whole."""
        with self._translated():
            if name in self._engine.list_aliases():
                self._engine.alter_alias(physical, name)
            else:
                self._engine.create_alias(physical, name)

    def remove_alias(self, name: str) -> None:
        """Safe to run twice."""
        with self._translated():
            self._engine.drop_alias(name)

    def _flush_in_time(self, physical: str, collection: Any, size_bytes: int) -> None:
        unflushed_bytes = self._unflushed_bytes.get(physical, 0) + size_bytes
        if unflushed_bytes >= FLUSH_BYTES:
            collection.flush()
            unflushed_bytes = 0
        self._unflushed_bytes[physical] = unflushed_bytes

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from milvus_lite import MilvusLiteError
        from pyarrow import ArrowException

        try:
            with writing_to(self._folder.path):
                yield
        except ArrowException as err:
            raise TransientError(f"{self._folder.path}: rows cannot be written") from err
        except MilvusLiteError as err:
            raise ConfigError(f"{self._folder.path} is damaged or no Milvus Lite index") from err
