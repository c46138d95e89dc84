"""Persons through a running service."""

from collections.abc import Iterator, Mapping, Sequence

from pipeline.client import Pictor

Fields = Mapping[str, object]


class PersonsThere:
    """Implements `persons_of.Persons`."""

    def __init__(self, pictor: Pictor, collection: str) -> None:
        self._pictor = pictor
        self._collection = collection

    def list(self) -> Iterator[Fields]:
        return (person.raw for person in self._pictor.list_persons(self._collection))

    def create(self, person_id: str) -> Fields:
        return self._pictor.create_person(self._collection, person_id).raw

    def show(self, person_id: str) -> Fields:
        return self._pictor.show_person(self._collection, person_id).raw

    def delete(self, person_id: str) -> None:
        self._pictor.delete_person(self._collection, person_id)

    def associate(self, person_id: str, faces: Sequence[str], min_score: float | None) -> Fields:
        return self._pictor.associate_faces(self._collection, person_id, faces, min_score=min_score).raw

    def dissociate(self, person_id: str, faces: Sequence[str]) -> Fields:
        return self._pictor.dissociate_faces(self._collection, person_id, faces).raw
