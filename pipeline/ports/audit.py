"""The transparency log: entries are appended, proved and read, and never edited."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from pipeline.types.audit import AuditEntry, AuditQuery, AuditReceipt, AuditRecord, TreeHead


class AuditLog(Protocol):
    """Safe to share between threads, and between processes where the ledger is.

    Raises, beside what every port may raise, FatalError when a signed checkpoint elsewhere shows that this
    log was rolled back or forked: nothing may be signed any more.
    """

    @property
    def vkey(self) -> str:
        """The public key that checkpoints are signed with, as `c2sp.org/signed-note` writes it."""
        ...

    def append(self, records: Sequence[AuditRecord]) -> list[AuditReceipt]:
        """Write records in their order and answer when they are on disk under a signed checkpoint.

        Calls at one time share a transaction. Safe to run twice with the same record ids: a record that is
        there already keeps its place, and is proved once more.

        Raises:
            ArgumentError: a record holds what JSON cannot say, for example a number that is not finite, or is
                too large.
            TransientError: it could not be written. Whatever it is about must not go ahead.
        """
        ...

    def head(self) -> TreeHead: ...

    def cosigned(self) -> str:
        """The newest checkpoint that witnesses have signed, too; or ""."""
        ...

    def get(self, record_id: str) -> AuditEntry:
        """Raises NotFoundError. An entry whose record was erased is still there."""
        ...

    def prove(self, record_id: str) -> AuditReceipt:
        """Prove an entry against the newest checkpoint, with the signatures of witnesses that it has.

        Of an erased record, the proof's `extra` line is left out.

        Raises:
            NotFoundError: there is no such entry.
        """
        ...

    def entries(self, *, start: int = 0, end: int | None = None) -> Iterator[AuditEntry]:
        """In their order, from `start` up to `end`, which is out; streamed in pages."""
        ...

    def find(self, query: AuditQuery, *, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        """Newest first. Erased records are found by nothing.

        Args:
            before: an index; only entries below it.
        """
        ...

    def erase(self, record_ids: Sequence[str], erasure: AuditRecord) -> AuditReceipt:
        """Take out records and salts, and append `erasure`, in one transaction. The tree stays as it is.

        Safe to run twice with the same erasure.

        Args:
            erasure: of kind ERASURE. Its `refers_to` names exactly these records.

        Raises:
            ArgumentError: it does not, or one of them is an erasure itself.
            NotFoundError: one of them is not there.
        """
        ...


class PublishedLog(AuditLog, Protocol):
    """A log whose tree others may read."""

    def tile(self, level: int, number: int, size: int) -> bytes:
        """The hashes that a tile has in the tree of `size` leaves; fewer when some are missing."""
        ...

    def commitments(self, start: int, end: int) -> list[bytes]:
        """Of the entries from `start` up to `end`, which is out. Cheaper than the entries themselves."""
        ...

    def full_tiles(self) -> Sequence[tuple[int, int]]:
        """Level and number of every tile that is kept as full."""
        ...

    def set_cosigned(self, checkpoint: str) -> None:
        """Keep a checkpoint with the signatures of witnesses, unless a newer one is there."""
        ...
