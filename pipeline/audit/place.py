"""A folder or bucket in which a log is published, file by file."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.audit.checkpoint import Checkpoint, NamedCheckpoint, open_checkpoint
from pipeline.audit.note import MAX_NOTE_BYTES, NoteError, VerifierKey
from pipeline.audit.tiles import CHECKPOINT
from pipeline.errors import FatalError, ImageError, TransientError
from pipeline.ports.store import ObjectStore
from pipeline.types.objects import Reason

MAX_FILE_BYTES = 64 * 2**20  # a bundle of 256 entries of 65,535 bytes, and a bit
DAYS = "days/"  # the last checkpoint of each day: `days/2026-11-27`


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """`url` is what messages call it."""

    store: ObjectStore
    bucket: str
    prefix: str
    url: str

    def read(self, name: str, *, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """None when there is no such file.

        Raises:
            TransientError: it cannot be read now.
        """
        try:
            ref = self.store.stat(self.bucket, self.prefix + name)
            return self.store.get(ref, max_bytes=max_bytes).body
        except ImageError as err:  # the port speaks of images
            if err.reason is Reason.NOT_FOUND:
                return None
            raise TransientError(f"{self.url}: {name} cannot be read: {err.detail}") from err

    def write(self, name: str, body: bytes) -> None:
        self.store.put(self.bucket, self.prefix + name, body)

    def delete(self, name: str) -> None:
        self.store.delete(self.bucket, self.prefix + name)

    def names(self, prefix: str) -> Iterator[str]:
        for ref in self.store.list_objects(self.bucket, self.prefix + prefix):
            yield ref.key.removeprefix(self.prefix)


def read_checkpoint(place: Place, name: str, key: VerifierKey) -> Checkpoint | None:
    """A published checkpoint of this log.

    Raises:
        FatalError: what is there is none, or is of another log.
    """
    body = place.read(name, max_bytes=MAX_NOTE_BYTES)
    if body is None:
        return None
    try:
        return open_checkpoint(body.decode(), key)
    except (NoteError, UnicodeDecodeError) as err:
        raise FatalError(f"{place.url}: {name} is no checkpoint of this log: {err}") from err


def read_checkpoints(place: Place, key: VerifierKey) -> list[NamedCheckpoint]:
    """Every published checkpoint of this log."""
    names = [CHECKPOINT, *place.names(DAYS)]
    found = [(name, read_checkpoint(place, name, key)) for name in names]
    return [NamedCheckpoint(name=place.url + name, checkpoint=one) for name, one in found if one]
