"""The version book as one caller sees it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from pipeline.ports import VersionBook
from pipeline.service.confined.scope import Scope
from pipeline.types import VersionEntry


class ConfinedBook:
    """Implements `ports.VersionBook`, for generations of the caller's collections."""

    def __init__(self, book: VersionBook, scope: Scope) -> None:
        self._book = book
        self._stored = scope.stored_generation

    def list_versions(
        self, generation: str, bucket: str, prefix: str = "", *, start_after: str | None = None
    ) -> Iterator[VersionEntry]:
        return self._book.list_versions(self._stored(generation), bucket, prefix, start_after=start_after)

    def list_by_id(self, generation: str) -> Iterator[VersionEntry]:
        return self._book.list_by_id(self._stored(generation))

    def write(self, generation: str, entries: Sequence[VersionEntry]) -> None:
        self._book.write(self._stored(generation), entries)

    def lose_rows(self, generation: str, sequences: Mapping[str, int] | None = None) -> None:
        self._book.lose_rows(self._stored(generation), sequences)

    def forget_generation(self, generation: str) -> None:
        self._book.forget_generation(self._stored(generation))

    def holds_rows(self, generation: str) -> bool:
        return self._book.holds_rows(self._stored(generation))

    def find_copies(self, generation: str, etags: Sequence[str]) -> list[str]:
        return self._book.find_copies(self._stored(generation), etags)

    def filled_to(self, generation: str) -> str | None:
        return self._book.filled_to(self._stored(generation))

    def record_fill(self, generation: str, entries: Sequence[VersionEntry], *, filled_to: str | None) -> None:
        self._book.record_fill(self._stored(generation), entries, filled_to=filled_to)

    def find(self, generation: str, image_ids: Sequence[str]) -> list[VersionEntry]:
        return self._book.find(self._stored(generation), image_ids)

    def overtaken(
        self, generation: str, image_ids: Sequence[str], *, job_id: str, path: str
    ) -> list[VersionEntry]:
        return self._book.overtaken(self._stored(generation), image_ids, job_id=job_id, path=path)

    def last_sequence(self, generation: str) -> int:
        return self._book.last_sequence(self._stored(generation))

    def sequence_at(self, generation: str, at: datetime) -> int:
        return self._book.sequence_at(self._stored(generation), at)

    def claim(self, generation: str, entries: Sequence[VersionEntry]) -> Mapping[str, int]:
        return self._book.claim(self._stored(generation), entries)

    def begin_removal(self, generation: str, image_ids: Sequence[str], sequence: int) -> list[VersionEntry]:
        return self._book.begin_removal(self._stored(generation), image_ids, sequence)

    def end_removal(self, generation: str, image_ids: Sequence[str], sequence: int) -> None:
        self._book.end_removal(self._stored(generation), image_ids, sequence)
