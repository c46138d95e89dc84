"""Which service holds the index of a home: a small file in it, for commands that are given beside.

The file is the user's alone and holds the address, and a token that proves that its bearer is this user. The
service holds a lock on it for as long as it lives: a lock dies with its process, even by kill -9, so that a
file which is left behind is known for one. Process numbers are given again and would not do.
"""

import fcntl
import hashlib
import json
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.errors import ConfigError

FILE_NAME = "server.json"
_MAX_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningServer:
    """`token` is shown by nothing."""

    url: str
    pid: int
    token: str = field(repr=False)


class Announcement:
    """Says in the home where this service answers, from `publish` to the end of the block.

    Of several services in one home, which a Milvus server allows, the last one that began is asked.
    """

    def __init__(self, home: Path, *, stores: str) -> None:
        """Args: `stores` is what `digest_of_stores` gives."""
        self.token = secrets.token_urlsafe(32)
        self._file = home / FILE_NAME
        self._stores = stores
        self._lock: int | None = None

    def publish(self, url: str) -> None:
        """Raises ConfigError: the file cannot be written."""
        body = {"url": url, "pid": os.getpid(), "token": self.token, "stores": self._stores}
        fresh = self._file.with_name(f"{FILE_NAME}.{os.getpid()}")
        try:
            fresh.unlink(missing_ok=True)
            self._lock = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            # Locked before it has its name: nobody ever sees the file of a living service without the lock.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._lock, json.dumps(body).encode())
            fresh.replace(self._file)
        except OSError as err:
            fresh.unlink(missing_ok=True)
            raise ConfigError(f"PICTOR_HOME: {self._file} cannot be written: {err.strerror}") from err

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            if self._is_own():
                self._file.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _is_own(self) -> bool:
        assert self._lock is not None
        try:
            return os.path.samestat(self._file.stat(), os.fstat(self._lock))
        except OSError:  # somebody has removed it
            return False


def find_server(home: Path, *, stores: str) -> RunningServer | None:
    """The service that runs beside, if it has the index and the ledger that the caller would open.

    A file that others may read or have written is not believed.
    """
    try:
        descriptor = os.open(home / FILE_NAME, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        state = os.fstat(descriptor)
        if state.st_uid != os.getuid() or state.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return None
        if not _is_locked(descriptor):
            return None
        body = os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)
    return _read(body, stores)


def digest_of_stores(*, milvus_uri: str, ledger_url: str) -> str:
    """Tells whether two processes mean the same index and ledger. Args: as the variables give them."""
    return hashlib.sha256(f"{milvus_uri}\0{ledger_url}".encode()).hexdigest()


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _read(body: bytes, stores: str) -> RunningServer | None:
    try:
        fields = json.loads(body)
        if fields["stores"] != stores:
            return None
        return RunningServer(url=str(fields["url"]), pid=int(fields["pid"]), token=str(fields["token"]))
    except (ValueError, KeyError, TypeError):  # of another version
        return None
