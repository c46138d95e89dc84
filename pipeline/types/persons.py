"""Persons of a collection of faces, and which faces are theirs."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pipeline.types.views import SAME_PLACE, Box

MAX_FACES_OF_PERSON = 100
MAX_TAGS = 200  # of a collection


class PersonState(StrEnum):
    """Associations count at once, so nobody is ever seen between two of these."""

    CREATED = "created"  # without a face
    ACTIVE = "active"


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonFace:
    """A face that was associated, as it was then.

    `etag` is of the version of its picture, and "" where the key of the picture names its content. `box` is
    None where the row said nothing of it.
    """

    row_id: str
    etag: str = ""
    box: Box | None = None

    def is_in(self, *, etag: str, box: Box | None) -> bool:
        """Whether the row of this id still shows that face: its picture may have been replaced meanwhile."""
        if self.etag and etag != self.etag:
            return False
        return self.box is None or box is None or self.box.overlap(box) >= SAME_PLACE


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    collection: str
    person_id: str
    created_at: datetime
