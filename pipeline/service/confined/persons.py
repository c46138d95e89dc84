"""The persons and tags of the caller's collections."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.ports import PersonBook
from pipeline.service.confined.scope import Scope
from pipeline.types import Person, PersonFace


class ConfinedPersons:
    """Implements `ports.PersonBook`. Collections bear the names that the caller knows."""

    def __init__(self, book: PersonBook, scope: Scope) -> None:
        self._book = book
        self._scope = scope

    def create(self, person: Person) -> bool:
        return self._book.create(replace(person, collection=self._scope.stored(person.collection)))

    def find(self, collection: str, person_id: str) -> Person | None:
        found = self._book.find(self._scope.stored(collection), person_id)
        return replace(found, collection=collection) if found else None

    def page(self, collection: str, *, limit: int, after: str = "") -> list[Person]:
        found = self._book.page(self._scope.stored(collection), limit=limit, after=after)
        return [replace(person, collection=collection) for person in found]

    def count(self, collection: str) -> int:
        return self._book.count(self._scope.stored(collection))

    def delete(self, collection: str, person_id: str) -> None:
        self._book.delete(self._scope.stored(collection), person_id)

    def faces_of(self, collection: str, person_ids: Sequence[str]) -> Mapping[str, Sequence[PersonFace]]:
        return self._book.faces_of(self._scope.stored(collection), person_ids)

    def owners(self, collection: str, row_ids: Sequence[str]) -> Mapping[str, tuple[str, PersonFace]]:
        return self._book.owners(self._scope.stored(collection), row_ids)

    def add_faces(
        self, collection: str, person_id: str, faces: Sequence[PersonFace], *, gone: Sequence[str] = ()
    ) -> Mapping[str, str]:
        with self._scope.words():
            return self._book.add_faces(self._scope.stored(collection), person_id, faces, gone=gone)

    def remove_faces(self, collection: str, person_id: str, row_ids: Sequence[str]) -> None:
        self._book.remove_faces(self._scope.stored(collection), person_id, row_ids)

    def forget_images(self, collection: str, image_ids: Sequence[str]) -> None:
        self._book.forget_images(self._scope.stored(collection), image_ids)

    def forget_collection(self, collection: str) -> None:
        self._book.forget_collection(self._scope.stored(collection))

    def tags(self, collection: str) -> Mapping[str, str]:
        return self._book.tags(self._scope.stored(collection))

    def set_tags(self, collection: str, tags: Mapping[str, str]) -> None:
        with self._scope.words():
            self._book.set_tags(self._scope.stored(collection), tags)

    def remove_tags(self, collection: str, keys: Sequence[str]) -> None:
        self._book.remove_tags(self._scope.stored(collection), keys)
