"""A Milvus Lite folder seen from outside: who has it open, its collections, and whether it has changed.

Read without starting Milvus Lite, which takes seconds. The layout is that of Milvus Lite 3.2:

    aliases.json                        {alias: collection}
    collections/<name>/schema.json      fields and properties
    collections/<name>/manifest.json    the data files that count; replaced as a whole at each change
    collections/<name>/wal/             writes since then, appended
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipeline.adapters.milvus.binding import Binding, read_binding
from pipeline.errors import ConfigError, TargetError, TransientError
from pipeline.types import CollectionRef

COPY_SUFFIX = ".copy"  # the copy of milvus.db is in milvus.db.copy, beside it


def is_lite(uri: str) -> bool:
    """Whether this names a Milvus Lite directory and not a server."""
    return "://" not in uri and not uri.startswith("unix:")


class LiteFolder:
    """The folder, locked for this process until `close`.

    Two locks. Ours keeps other processes of Pictor out for as long as this one lives. Milvus Lite's own keeps
    everybody else out; Lite takes it itself while it is open, so `lend` gives it up for that time.

    Raises:
        TransientError: another process has it open.
        ConfigError: it cannot be used.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).resolve()
        self._shown = path
        self.copy_path = self.path.with_name(self.path.name + COPY_SUFFIX)
        if self.path.is_file():
            raise ConfigError(f"{path} is a file; a Milvus Lite index is a directory")
        try:
            for folder in (self.path, self.copy_path):
                folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.copy_path / "LOCK", path)
        except OSError as err:
            raise ConfigError(f"{path}: the index cannot be opened ({err.strerror})") from err
        self._lite_lock: int | None = None
        try:
            self.take_back()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        self.lend()
        os.close(self._lock)

    def lend(self) -> None:
        """Let Milvus Lite open the folder."""
        if self._lite_lock is not None:
            os.close(self._lite_lock)
            self._lite_lock = None

    def take_back(self) -> None:
        """Lock it again. Raises TransientError when another program was faster."""
        if self._lite_lock is None:
            self._lite_lock = _lock(self.path / "LOCK", self._shown)

    def find(self, ref: CollectionRef) -> Binding | None:
        binding = self.read_binding(ref.generation)
        return binding if binding and binding.ref == ref else None

    def find_live(self, name: str) -> Binding | None:
        """The generation that the alias leads to.

        Raises:
            TargetError: there is something of that name that Pictor did not make.
        """
        physical = self._read_json("aliases.json").get(name)
        if physical is None and name not in self.list_physical():
            return None
        binding = self.read_binding(physical or name)
        if binding is None and physical is not None and physical not in self.list_physical():
            return None  # an alias that was left behind
        if binding is None or binding.name != name:
            raise TargetError(
                f"collection {name!r} was not made by Pictor: it does not say which model it belongs to"
            )
        return binding

    def list_physical(self) -> list[str]:
        return sorted(file.parent.name for file in self.path.glob("collections/*/schema.json"))

    def read_binding(self, physical: str) -> Binding | None:
        """None when Pictor did not make it."""
        schema = self._read_json(f"collections/{physical}/schema.json")
        return read_binding({"collection_name": physical, "properties": schema.get("properties", {})})

    def list_bindings(self, name: str = "") -> list[Binding]:
        """Of all generations that are ours, with or without an alias; or of those of one collection."""
        bindings = [(physical, self.read_binding(physical)) for physical in self.list_physical()]
        ours = [binding for physical, binding in bindings if binding and binding.physical == physical]
        return sorted(
            (binding for binding in ours if name in ("", binding.name)),
            key=lambda binding: binding.fingerprint,
        )

    def is_complete(self, physical: str) -> bool:
        """Whether it has its index, which is made last. pymilvus cannot load it without."""
        return bool(self.read_manifest(physical).get("index_specs"))

    def remove(self, physical: str) -> None:
        """Delete a collection as a whole, or the rest of one. Milvus Lite is closed."""
        home, dropped = self.path / "collections" / physical, self.path / "dropped"
        if home.exists():
            dropped.mkdir(exist_ok=True)
            home.rename(dropped / uuid4().hex)  # at once: a removal that is cut would leave half of it
        shutil.rmtree(dropped, ignore_errors=True)

    def remove_remains(self) -> None:
        """The rest of one that was half made or dropped when its process ended. Milvus Lite fails over it."""
        for home in self.path.glob("collections/*"):
            if not (home / "schema.json").exists():
                self.remove(home.name)

    def read_manifest(self, physical: str) -> Mapping[str, Any]:
        return self._read_json(f"collections/{physical}/manifest.json")

    def has_log(self, physical: str) -> bool:
        """Whether there are writes that are in no data file yet."""
        return any(self._log_files(physical))

    def state_of(self, physical: str) -> str:
        """Digest of all that changes when a row is written or deleted, by whatever program."""
        manifest = self.path / "collections" / physical / "manifest.json"
        digest = hashlib.sha256(self._read_bytes(manifest))
        for file in (manifest, *self._log_files(physical)):
            if file.exists():
                stat = file.stat()
                digest.update(f"{file.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        return digest.hexdigest()

    def forget_copies(self) -> None:
        """Remove copies of collections that are gone."""
        there = set(self.list_physical())
        for folder in self.copy_path.iterdir():
            if folder.is_dir() and folder.name not in there:
                shutil.rmtree(folder, ignore_errors=True)

    def busy(self) -> TransientError:
        return _busy(self._shown)

    def _log_files(self, physical: str) -> list[Path]:
        return sorted(self.path.glob(f"collections/{physical}/wal/*.arrow"))

    def _read_json(self, name: str) -> Mapping[str, Any]:
        text = self._read_bytes(self.path / name)
        try:
            fields = json.loads(text) if text else {}
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise ConfigError(f"{self.path} is damaged or no Milvus Lite index: {name} cannot be read")
        return fields

    def _read_bytes(self, file: Path) -> bytes:
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as err:
            raise ConfigError(f"{self.path}: the index cannot be opened ({err.strerror})") from err


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Raises TransientError: the disk is full, or the file system is gone."""
    try:
        yield
    except OSError as err:
        raise TransientError(f"{path}: the index cannot be written ({err.strerror})") from err


def _lock(file: Path, shown: str) -> int:
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        os.close(descriptor)
        raise _busy(shown) from err
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _busy(shown: str) -> TransientError:
    return TransientError(
        f"{shown}: another pictor process has the index open, perhaps `pictor serve`; wait for it, "
        "or use a Milvus server (PICTOR_MILVUS_URI)"
    )
