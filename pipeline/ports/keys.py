"""The keys of the HTTP service. No secret comes here, only digests."""

from datetime import datetime
from typing import Protocol

from pipeline.types import ApiKey, KnownKey, Session


class KeyBook(Protocol):
    """Safe to share between threads and processes. What one has written, the next call of any other sees."""

    def add_key(self, known: KnownKey) -> None:
        """Safe to run twice."""
        ...

    def add_first_key(self, known: KnownKey) -> bool:
        """Add the key if there has never been one, whoever else tries at the same time.

        Returns:
            False, and nothing is written, when there is a key already, and be it a revoked one.
        """
        ...

    def replace_key(self, known: KnownKey, *, former_expires_at: datetime) -> None:
        """Add the key, and let the one that it `replaces` expire at this time, unless it does so earlier.

        One transaction. Safe to run twice.

        Raises:
            ConflictError: that one is revoked, or not there. Nothing was added.
        """
        ...

    def find_key(self, key_id: str) -> KnownKey | None: ...

    def list_keys(self) -> list[ApiKey]:
        """All keys of all tenants, newest first. Also those that are not valid any more."""
        ...

    def revoke_key(self, key_id: str, at: datetime) -> None:
        """With its sessions. A key that is revoked already keeps the time of that."""
        ...

    def note_use(self, key_id: str, at: datetime, *, unless_since: datetime) -> None:
        """Write when it was used last, unless that is noted to have been after `unless_since`."""
        ...

    def add_session(self, digest: str, session: Session, *, now: datetime, most: int) -> None:
        """Also forgets the sessions that have expired. Safe to run twice.

        Args:
            most: sessions of one key, with this one. Those that expire first end.
        """
        ...

    def find_session(self, digest: str) -> Session | None: ...

    def end_session(self, digest: str) -> None:
        """Safe to run twice."""
        ...
