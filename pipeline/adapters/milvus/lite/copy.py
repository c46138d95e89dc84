"""A copy of one collection's rows, laid out for searching: five files that are only ever appended to.

    rows        one fixed record per slot: id, sizes, where its texts begin
    vectors     float32 [slots, D]
    texts       bucket, key and etag of each slot, UTF-8
    metadata    the pairs of each slot, as `exact_filter` looks for them
    dead        numbers of the slots whose row was replaced or deleted

Milvus Lite has the rows; the copy is thrown away when in doubt. It counts only while its stamp names the
state that Lite's files are in. The stamp is removed before the first write and made again after the last,
when Lite is closed. A process that is killed in between, at whatever instruction, leaves no stamp, and the
next process makes the copy anew.
"""

import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.milvus.lite.metadata_line import metadata_line
from pipeline.adapters.milvus.lite.stamp import Stamp, read_stamp, remove_stamp, write_stamp
from pipeline.adapters.milvus.lite.table import RECORD, Table
from pipeline.adapters.milvus.rows import EPOCH, MICROSECOND
from pipeline.types import IndexRow

FILES = ("rows", "vectors", "texts", "metadata", "dead")
SLOT = np.dtype("<u4")


class LiteCopy:
    """`snapshot` and `row_count` are safe beside the one thread that writes. A `Table` is safe to share."""

    def __init__(self, folder: Path, dim: int, sizes_bytes: Mapping[str, int], *, state: str | None) -> None:
        self._folder = folder
        self._dim = dim
        self._lock = threading.RLock()  # held for the milliseconds in which rows are appended or looked up
        self._closed = False
        self._sizes_bytes = dict(sizes_bytes)
        self.state = state  # of Milvus Lite's files, with which the copy is in step; None: it is in doubt
        self._files = {name: (folder / name).open("r+b") for name in FILES}
        for name, file in self._files.items():
            file.seek(sizes_bytes[name])  # bytes behind the stamp are not vouched for, so write over them
        self._live = np.ones(self._slots, dtype=np.bool_)
        self._live[self._map("dead", SLOT)] = False
        self._table: Table | None = None
        self._slot_of: dict[bytes, int] | None = None

    @classmethod
    def create(cls, home: Path, dim: int) -> "LiteCopy":
        """An empty copy in the place of the present one."""
        remove_stamp(home)
        shutil.rmtree(home, ignore_errors=True)
        folder = home / uuid4().hex  # a name of its own: files of an older copy may still be mapped
        folder.mkdir(parents=True)
        for name in FILES:
            (folder / name).touch()
        return cls(folder, dim, dict.fromkeys(FILES, 0), state=None)

    @classmethod
    def open(cls, home: Path, dim: int, state: str) -> "LiteCopy | None":
        """The copy, if it is in step with this state of Milvus Lite's files."""
        stamp = read_stamp(home)
        if stamp is None or (stamp.dim, stamp.state) != (dim, state):
            return None
        folder = home / stamp.folder
        if any(_size_bytes(folder / name) < stamp.sizes_bytes[name] for name in FILES):
            return None
        return cls(folder, dim, stamp.sizes_bytes, state=state)

    @property
    def row_count(self) -> int:
        return int(np.count_nonzero(self._live))

    @property
    def dead_count(self) -> int:
        return self._slots - self.row_count

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for file in self._files.values():
                with suppress(OSError):  # a write that failed before may fail again
                    file.close()

    def snapshot(self, ids: Sequence[str]) -> tuple[Table, list[int]] | None:
        """The rows at this moment, and the slots of those `ids` that are there. None once it is closed."""
        with self._lock:
            return None if self._closed else (self.table(), self.find(ids))

    def begin_write(self) -> None:
        """From here on the copy is in doubt. To be called before Milvus Lite is written to."""
        if self.state is not None:
            remove_stamp(self._folder.parent)
            self.state = None

    def stamp(self, state: str) -> None:
        """The copy is in step. Milvus Lite is closed, and this is the state of its files."""
        for file in self._files.values():
            os.fsync(file.fileno())  # a power cut must not take the bytes that the stamp speaks of
        stamp = Stamp(
            state=state, dim=self._dim, folder=self._folder.name, sizes_bytes=dict(self._sizes_bytes)
        )
        write_stamp(self._folder.parent, stamp)
        self.state = state

    def put(self, rows: Sequence[IndexRow]) -> None:
        """Write rows by id. No id twice."""
        if rows:
            with self._lock:
                self._put(rows)

    def delete(self, ids: Sequence[str]) -> None:
        with self._lock:
            slot_of = self._known_slots()
            slots = (slot_of.pop(id_.encode(), None) for id_ in ids)
            dead = np.array([slot for slot in slots if slot is not None], dtype=SLOT)
            self._live[dead] = False
            self._append("dead", dead.tobytes())
            self._flush()

    def find(self, ids: Sequence[str]) -> list[int]:
        """Slots of those that are there, in the order of `ids`."""
        slot_of = self._known_slots()
        slots = (slot_of.get(id_.encode(errors="replace")) for id_ in ids)
        return [slot for slot in slots if slot is not None]

    def table(self) -> Table:
        if self._table is None:
            records = self._map("rows", RECORD)
            self._table = Table(
                records=records,
                vectors=self._map("vectors", np.dtype("<f4")).reshape(len(records), self._dim),
                live=self._live.copy(),
                texts=self._map("texts", np.dtype(np.uint8)),
                metadata=self._map("metadata", np.dtype(np.uint8)),
            )
        return self._table

    @property
    def _slots(self) -> int:
        return self._sizes_bytes["rows"] // RECORD.itemsize

    def _put(self, rows: Sequence[IndexRow]) -> None:
        self.delete([row.id for row in rows])
        slot_of = self._known_slots()
        slot_of.update((row.id.encode(), slot) for slot, row in enumerate(rows, start=self._slots))
        vectors = np.stack([row.vector for row in rows]).astype("<f4")
        records = self._append_texts(rows)
        lengths = np.linalg.norm(vectors, axis=1)
        records["inverse_length"] = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        self._append("vectors", vectors.tobytes())
        self._append("rows", records.tobytes())
        self._flush()
        self._live = np.concatenate([self._live, np.ones(len(rows), dtype=np.bool_)])

    def _known_slots(self) -> dict[bytes, int]:
        if self._slot_of is None:
            live = np.flatnonzero(self._live)
            ids = self.table().records["id"][live]
            self._slot_of = dict(zip(ids.tolist(), live.tolist(), strict=True))
        return self._slot_of

    def _append_texts(self, rows: Sequence[IndexRow]) -> NDArray[Any]:
        """Write the texts of some rows. Returns their records, [N] of RECORD."""
        texts = [[text.encode() for text in (row.ref.bucket, row.ref.key, row.ref.etag)] for row in rows]
        lines = [metadata_line(row.metadata) for row in rows]
        records = np.zeros(len(rows), dtype=RECORD)
        records["id"] = [row.id.encode() for row in rows]
        records["width"] = [row.width for row in rows]
        records["height"] = [row.height for row in rows]
        records["size_bytes"] = [row.ref.size_bytes for row in rows]
        records["indexed_at"] = [(row.indexed_at - EPOCH) // MICROSECOND for row in rows]
        sizes = np.array([list(map(len, parts)) for parts in texts])
        for column, name in enumerate(("bucket_bytes", "key_bytes", "etag_bytes")):
            records[name] = sizes[:, column]
        records["text_start"] = self._starts("texts", sizes.sum(axis=1))
        records["metadata_bytes"] = list(map(len, lines))
        records["metadata_start"] = self._starts("metadata", records["metadata_bytes"])
        self._append("texts", b"".join(text for parts in texts for text in parts))
        self._append("metadata", b"".join(lines))
        return records

    def _starts(self, name: str, sizes: NDArray[Any]) -> NDArray[np.int64]:
        """Where pieces of these sizes begin when they are appended to a file."""
        return np.asarray(self._sizes_bytes[name] + np.cumsum(sizes) - sizes, dtype=np.int64)

    def _append(self, name: str, content: bytes) -> None:
        self._table = None
        self._files[name].write(content)
        self._sizes_bytes[name] += len(content)

    def _flush(self) -> None:
        """The mapped files show the appended rows. A full disk is found now and not later."""
        for file in self._files.values():
            file.flush()

    def _map(self, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        count = self._sizes_bytes[name] // dtype.itemsize
        if count == 0:
            return np.empty(0, dtype=dtype)  # an empty file cannot be mapped
        return np.asarray(np.memmap(self._folder / name, dtype=dtype, mode="r", shape=(count,)))


def _size_bytes(file: Path) -> int:
    return file.stat().st_size if file.exists() else -1
