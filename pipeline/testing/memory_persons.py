"""PersonBook in memory: the fake of tests. It passes the contract tests of the real one."""

from collections.abc import Mapping, Sequence
from threading import RLock

from pipeline.ports.image_rows import image_id_of_row
from pipeline.ports.persons import check_face_count, check_tag_count, no_such_person
from pipeline.types import Person, PersonFace


class MemoryPersonBook:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._persons: dict[tuple[str, str], Person] = {}
        self._faces: dict[tuple[str, str], tuple[str, PersonFace]] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._lock = RLock()

    def create(self, person: Person) -> bool:
        with self._lock:
            return self._persons.setdefault((person.collection, person.person_id), person) == person

    def find(self, collection: str, person_id: str) -> Person | None:
        return self._persons.get((collection, person_id))

    def page(self, collection: str, *, limit: int, after: str = "") -> list[Person]:
        with self._lock:
            mine = [person for (name, _), person in self._persons.items() if name == collection]
        behind = (person for person in mine if person.person_id > after)
        return sorted(behind, key=lambda person: person.person_id)[:limit]

    def count(self, collection: str) -> int:
        return len(self.page(collection, limit=len(self._persons)))

    def delete(self, collection: str, person_id: str) -> None:
        with self._lock:
            self._persons.pop((collection, person_id), None)
            for face in self.faces_of(collection, [person_id]).get(person_id, ()):
                del self._faces[collection, face.row_id]

    def faces_of(self, collection: str, person_ids: Sequence[str]) -> Mapping[str, Sequence[PersonFace]]:
        faces: dict[str, list[PersonFace]] = {}
        with self._lock:
            for (name, _), (owner, face) in sorted(self._faces.items(), key=lambda item: item[0]):
                if name == collection and owner in person_ids:
                    faces.setdefault(owner, []).append(face)
        return faces

    def owners(self, collection: str, row_ids: Sequence[str]) -> Mapping[str, tuple[str, PersonFace]]:
        with self._lock:
            places = ((row_id, self._faces.get((collection, row_id))) for row_id in row_ids)
            return {row_id: found for row_id, found in places if found is not None}

    def add_faces(
        self, collection: str, person_id: str, faces: Sequence[PersonFace], *, gone: Sequence[str] = ()
    ) -> Mapping[str, str]:
        with self._lock:
            if (collection, person_id) not in self._persons:
                raise no_such_person(collection, person_id)
            left = {place: held for place, held in self._faces.items() if place[1] not in gone}
            left |= {place: held for place, held in self._faces.items() if place[0] != collection}
            for face in faces:
                left.setdefault((collection, face.row_id), (person_id, face))
            mine = [
                place for place, (owner, _) in left.items() if (place[0], owner) == (collection, person_id)
            ]
            check_face_count(person_id, len(mine))
            self._faces = left
            return {face.row_id: left[collection, face.row_id][0] for face in faces}

    def remove_faces(self, collection: str, person_id: str, row_ids: Sequence[str]) -> None:
        with self._lock:
            for row_id in row_ids:
                if self._faces.get((collection, row_id), ("", None))[0] == person_id:
                    del self._faces[collection, row_id]

    def forget_images(self, collection: str, image_ids: Sequence[str]) -> None:
        gone = set(image_ids)
        with self._lock:
            self._faces = {
                (name, row_id): held
                for (name, row_id), held in self._faces.items()
                if name != collection or image_id_of_row(row_id) not in gone
            }

    def forget_collection(self, collection: str) -> None:
        with self._lock:
            self._persons = {place: of for place, of in self._persons.items() if place[0] != collection}
            self._faces = {place: of for place, of in self._faces.items() if place[0] != collection}
            self._tags.pop(collection, None)

    def tags(self, collection: str) -> Mapping[str, str]:
        with self._lock:
            return dict(sorted(self._tags.get(collection, {}).items()))

    def set_tags(self, collection: str, tags: Mapping[str, str]) -> None:
        with self._lock:
            changed = {**self._tags.get(collection, {}), **tags}
            check_tag_count(collection, len(changed))
            self._tags[collection] = changed

    def remove_tags(self, collection: str, keys: Sequence[str]) -> None:
        with self._lock:
            mine = self._tags.get(collection, {})
            self._tags[collection] = {key: value for key, value in mine.items() if key not in keys}
