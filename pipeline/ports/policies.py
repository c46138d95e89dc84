"""The policies of collections, version by version, and the clocks of cases."""

from datetime import datetime
from typing import Protocol

from pipeline.types import CaseClock, PolicyState, PolicyVersion


class PolicyBook(Protocol):
    """Safe to share between threads and processes. What one has written, the next call of any other sees.

    Versions are kept for ever. At most one version of a collection is in force, and at most one is proposed.
    """

    def in_force(self, collection: str) -> PolicyVersion | None:
        """None: the collection has no policy."""
        ...

    def history(self, collection: str) -> list[PolicyVersion]:
        """Newest first."""
        ...

    def list_in_force(self) -> list[PolicyVersion]:
        """By the name of the collection."""
        ...

    def add(self, version: PolicyVersion) -> None:
        """Write a version, proposed or in force. One that is in force replaces the former.

        A proposal that was waiting is then replaced, too. Safe to run twice.

        Raises:
            ConflictError: another version has this number, or another one than it `replaces` is in force.
        """
        ...

    def decide(
        self, collection: str, version: int, state: PolicyState, *, decided_by: str, at: datetime
    ) -> PolicyVersion:
        """Put a proposed version in force, or refuse it. Safe to run twice.

        Raises:
            NotFoundError: there is no such version.
            ConflictError: it is not proposed any more.
        """
        ...

    def find_clock(self, collection: str, case: str) -> CaseClock | None: ...

    def start_clock(self, collection: str, case: str, at: datetime) -> CaseClock:
        """Safe to run twice: the first start counts."""
        ...

    def decide_case(self, clock: CaseClock) -> CaseClock:
        """Write what an authority decided of a case. A clock that runs keeps its start. Safe to run twice.

        Raises:
            ConflictError: it was refused before, or something else was entered.
        """
        ...
