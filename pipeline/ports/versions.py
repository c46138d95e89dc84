"""The version book: which version of each object is indexed, or why it is not."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from pipeline.types import Findings, VersionEntry

NO_FINDINGS = Findings()


class VersionBook(Protocol):
    """What is known of each object of a generation (`types.generation_of`). Safe to share between threads.

    Each plan and each removal has a number, its sequence. The one with the highest decides over an object.
    """

    def list_versions(
        self, generation: str, bucket: str, prefix: str = "", *, start_after: str | None = None
    ) -> Iterator[VersionEntry]:
        """Entries whose key begins with `prefix`, in byte order of the key, streamed in pages."""
        ...

    def list_by_id(self, generation: str) -> Iterator[VersionEntry]:
        """All entries, in order of the image id, streamed in pages."""
        ...

    def write(self, generation: str, entries: Sequence[VersionEntry]) -> None:
        """Write entries, over what has no higher sequence. Safe to run twice."""
        ...

    def lose_rows(self, generation: str, sequences: Mapping[str, int] | None = None) -> None:
        """The index has no rows of them: they are planned in no known version, so that the next job looks.

        Late batches stay late, and what was taken out stays remembered. Safe to run twice.

        Args:
            sequences: by image id, as they were read. Entries with another one are left alone. Without it,
                of all that have rows as far as the book knows.
        """
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

    def find(self, generation: str, image_ids: Sequence[str]) -> list[VersionEntry]:
        """The entries that are there, in order of the image id."""
        ...

    def overtaken(
        self, generation: str, image_ids: Sequence[str], *, job_id: str, path: str
    ) -> list[VersionEntry]:
        """The entries over which a newer plan or removal decides than the plan of a batch."""
        ...

    def last_sequence(self, generation: str) -> int:
        """The highest number that a plan, a removal or a claim has been given; 0 before the first."""
        ...

    def sequence_at(self, generation: str, at: datetime) -> int:
        """The number of a moment: above those of all earlier plans, below those of all later ones.

        Earlier and later go by the clocks of those who planned. A moment that is still to come is now.
        """
        ...

    def claim(self, generation: str, entries: Sequence[VersionEntry]) -> Mapping[str, int]:
        """Decide over objects from now on, unless their entries have changed since they were read.

        They are planned then, in no known version. So whoever claims may die: the next batch that has one of
        them, or the next job, looks anew.

        Returns:
            The new sequence by image id, of those that were claimed.
        """
        ...

    def begin_removal(self, generation: str, image_ids: Sequence[str], sequence: int) -> list[VersionEntry]:
        """Make removed what no newer plan decides over; before their rows leave the index. Safe to run twice.

        Returns:
            The entries that a newer plan or removal decides over. They are left alone.
        """
        ...

    def end_removal(self, generation: str, image_ids: Sequence[str], sequence: int) -> None:
        """Their rows have left the index. Safe to run twice.

        They are remembered as removed until no older batch is pending that could bring them back.
        """
        ...
