"""The version book: which version of each object is indexed, or why it is not."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from pipeline.types import (
    Findings,
    VersionEntry,
)

NO_FINDINGS = Findings()


class VersionBook(Protocol):
    """One entry for each object of a generation (`types.generation_of`). Safe to share between threads."""

    def list_versions(
        self, generation: str, bucket: str, prefix: str = "", *, start_after: str | None = None
    ) -> Iterator[VersionEntry]:
        """Entries whose key begins with `prefix`, in byte order of the key, streamed in pages."""
        ...

    def list_by_id(self, generation: str) -> Iterator[VersionEntry]:
        """All entries, in order of the image id, streamed in pages."""
        ...

    def write(self, generation: str, entries: Sequence[VersionEntry]) -> None:
        """Write entries, over older ones. Safe to run twice."""
        ...

    def forget(self, generation: str, image_ids: Sequence[str]) -> None:
        """Safe to run twice."""
        ...

    def forget_generation(self, generation: str) -> None:
        """All of it: for a generation that was dropped. Its next reader fills it from the index."""
        ...

    def holds_rows(self, generation: str) -> bool:
        """Whether any object of it has rows in the index, so far as the book knows."""
        ...

    def find_copies(self, generation: str, etags: Sequence[str]) -> list[str]:
        """Of each ETag at most one image id of an indexed object that has it."""
        ...

    def filled_to(self, generation: str) -> str | None:
        """How far the filling from the index has come: an image id, "" at the start, None at the end."""
        ...

    def record_fill(self, generation: str, entries: Sequence[VersionEntry], *, filled_to: str | None) -> None:
        """Add entries that the book does not have yet, and note how far that is. Safe to run twice."""
        ...
