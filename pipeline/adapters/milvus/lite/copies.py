"""All copies of one folder, and Milvus Lite while it is open: who writes to which files when.

write   in step → the stamp is removed → Milvus Lite has the rows → the copy has them
settle  Milvus Lite is closed → the folder is locked again → the copies are stamped
doubt   a write that failed half way, no stamp, or one of another state: Milvus Lite's rows are read anew
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.adapters.milvus.binding import Binding
from pipeline.adapters.milvus.lite.copy import LiteCopy
from pipeline.adapters.milvus.lite.folder import LiteFolder, writing_to
from pipeline.adapters.milvus.lite.writer import LiteWriter
from pipeline.types import IndexRow

MIN_DEAD = 10_000  # slots of replaced rows, below which a copy is not made anew for their sake


class LiteCopies:
    """Not safe to share between threads, but for `known`."""

    def __init__(self, folder: LiteFolder) -> None:
        self._folder = folder
        self._copies: dict[str, LiteCopy] = {}  # in step; by physical name
        self._writer: LiteWriter | None = None

    def known(self, binding: Binding) -> LiteCopy | None:
        """The copy if this process has it in step already. Its rows may be those before a write under way."""
        return self._copies.get(binding.physical)

    def get(self, binding: Binding) -> LiteCopy:
        """The copy of a collection, in step with its rows."""
        known = self._copies.get(binding.physical)
        if known is None:
            with writing_to(self._folder.copy_path):
                known = self._open(binding) or self._read_anew(binding)
            self._copies[binding.physical] = known
        return known

    def write(self, binding: Binding, rows: Sequence[IndexRow], entities: Sequence[dict[str, Any]]) -> None:
        """Args: `entities` are the rows as Milvus keeps them. No id twice."""
        if not rows:
            return
        with self._writing(binding) as (copy, writer):
            writer.write(binding.physical, entities)
            copy.put(rows)

    def delete(self, binding: Binding, ids: Sequence[str]) -> None:
        if not self.get(binding).find(ids):
            return  # Milvus Lite would keep a tombstone for each
        with self._writing(binding) as (copy, writer):
            writer.delete(binding.physical, ids)
            copy.delete(ids)

    def point_alias(self, name: str, physical: str) -> None:
        self._open_writer().point_alias(name, physical)

    def remove_alias(self, name: str) -> None:
        self._open_writer().remove_alias(name)

    def drop(self, doomed: Sequence[str]) -> None:
        for physical in doomed:
            self._forget(physical)
        self.settle()
        with writing_to(self._folder.path):
            for physical in doomed:
                self._folder.remove(physical)
        self._folder.forget_copies()

    def settle(self) -> None:
        """Close Milvus Lite and vouch for the copies."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        try:
            writer.close()
            with writing_to(self._folder.copy_path):
                self._stamp_all()
        except BaseException:
            self._forget_all()
            raise

    def run_beside(self, change: Callable[[], None]) -> None:
        """Let somebody else open the folder, who changes no row of a collection that is there."""
        self.settle()
        self._folder.remove_remains()
        self._folder.lend()
        try:
            change()
        finally:
            self._folder.take_back()

    def close(self) -> None:
        try:
            self.settle()
        finally:
            self._forget_all()

    @contextmanager
    def _writing(self, binding: Binding) -> Iterator[tuple[LiteCopy, LiteWriter]]:
        copy = self.get(binding)
        try:
            with writing_to(self._folder.copy_path):
                copy.begin_write()
                yield copy, self._open_writer()
        except BaseException:
            self._forget(binding.physical)  # whether Milvus Lite has the rows is not known
            raise

    def _open_writer(self) -> LiteWriter:
        if self._writer is None:
            self._writer = LiteWriter(self._folder)
        return self._writer

    def _open(self, binding: Binding) -> LiteCopy | None:
        if self._writer is None:
            self._folder.take_back()  # a Milvus Lite that failed to close may have left it open
        state = self._folder.state_of(binding.physical)
        return LiteCopy.open(self._home(binding.physical), binding.dim, state)

    def _read_anew(self, binding: Binding) -> LiteCopy:
        from pipeline.adapters.milvus.lite.data_files import (
            read_rows,  # pyarrow: not for a copy that is in step
        )

        physical = binding.physical
        self.settle()
        if self._folder.has_log(physical):
            self._open_writer().open_collection(physical)
            self.settle()
        copy = LiteCopy.create(self._home(physical), binding.dim)
        try:
            for rows in read_rows(self._folder, physical):
                copy.put(rows)
            copy.stamp(self._folder.state_of(physical))
        except BaseException:
            copy.close()
            raise
        return copy

    def _stamp_all(self) -> None:
        for physical, copy in list(self._copies.items()):
            state = self._folder.state_of(physical)
            if copy.state is None:
                copy.stamp(state)
            in_doubt = copy.state != state  # nobody wrote, and yet it changed
            if in_doubt or copy.dead_count > max(MIN_DEAD, copy.row_count):
                copy.begin_write()
                self._forget(physical)

    def _forget(self, physical: str) -> None:
        copy = self._copies.pop(physical, None)
        if copy is not None:
            copy.close()

    def _forget_all(self) -> None:
        for physical in list(self._copies):
            self._forget(physical)

    def _home(self, physical: str) -> Path:
        return self._folder.copy_path / physical
