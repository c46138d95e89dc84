"""Persons over the faces of a collection, and the tags of collections."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from pipeline.errors import LimitError, NotFoundError
from pipeline.types import MAX_FACES_OF_PERSON, MAX_TAGS, Person, PersonFace


class PersonBook(Protocol):
    """Safe to share between threads and processes. What one has written, the next call of any other sees.

    A face is of one person of its collection at most. The book does not know whether it is still in the
    index: see `PersonFace.is_in`.
    """

    def create(self, person: Person) -> bool:
        """False: another one of this id is there. Safe to run twice."""
        ...

    def find(self, collection: str, person_id: str) -> Person | None: ...

    def page(self, collection: str, *, limit: int, after: str = "") -> list[Person]:
        """By id. Args: `after`: only those behind this id."""
        ...

    def count(self, collection: str) -> int: ...

    def delete(self, collection: str, person_id: str) -> None:
        """With what is said of the person's faces. Safe to run twice."""
        ...

    def faces_of(self, collection: str, person_ids: Sequence[str]) -> Mapping[str, Sequence[PersonFace]]:
        """By person, in order of the row's id. Persons without a face are missing."""
        ...

    def owners(self, collection: str, row_ids: Sequence[str]) -> Mapping[str, tuple[str, PersonFace]]:
        """Whose these faces are, by the row's id. Faces that are nobody's are missing."""
        ...

    def add_faces(
        self, collection: str, person_id: str, faces: Sequence[PersonFace], *, gone: Sequence[str] = ()
    ) -> Mapping[str, str]:
        """Say that faces are the person's, unless they are another one's. Safe to run twice.

        Args:
            gone: ids of rows whose faces are not there any more. They are nobody's from now on.

        Returns:
            Whose each of `faces` is now, by the row's id.

        Raises:
            NotFoundError: there is no such person.
            LimitError: the person would have more than MAX_FACES_OF_PERSON. Nothing was changed.
        """
        ...

    def remove_faces(self, collection: str, person_id: str, row_ids: Sequence[str]) -> None:
        """Say that these are not the person's. Safe to run twice."""
        ...

    def forget_images(self, collection: str, image_ids: Sequence[str]) -> None:
        """Say that faces of these images are nobody's, as they have left. Safe to run twice."""
        ...

    def forget_collection(self, collection: str) -> None:
        """Delete all persons of a collection, and its tags. Safe to run twice."""
        ...

    def tags(self, collection: str) -> Mapping[str, str]: ...

    def set_tags(self, collection: str, tags: Mapping[str, str]) -> None:
        """Add tags, or change those of the same key. Safe to run twice.

        Raises:
            LimitError: the collection would have more than MAX_TAGS. Nothing was changed.
        """
        ...

    def remove_tags(self, collection: str, keys: Sequence[str]) -> None:
        """Safe to run twice."""
        ...


def no_such_person(collection: str, person_id: str) -> NotFoundError:
    return NotFoundError(f"there is no person {person_id!r} in collection {collection!r}")


def check_face_count(person_id: str, faces: int) -> None:
    """Raises LimitError. Args: `faces` that the person would have."""
    if faces > MAX_FACES_OF_PERSON:
        raise LimitError(
            f"person {person_id!r} would have {faces} faces; {MAX_FACES_OF_PERSON} are allowed, and none was "
            "added"
        )


def check_tag_count(collection: str, tags: int) -> None:
    """Raises LimitError. Args: `tags` that the collection would have."""
    if tags > MAX_TAGS:
        raise LimitError(f"collection {collection!r} would have {tags} tags; {MAX_TAGS} are allowed")
