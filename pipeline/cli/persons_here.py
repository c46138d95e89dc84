"""Persons of an index that this process opens."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pipeline.cli.search_ports import open_search_ports
from pipeline.errors import ConflictError
from pipeline.service import associations, persons
from pipeline.service.access import local_caller
from pipeline.service.answers import faces_changed_json, person_json
from pipeline.service.search import SearchPorts
from pipeline.settings import Settings

Fields = Mapping[str, object]


@contextmanager
def open_persons_here(collection: str) -> Iterator["PersonsHere"]:
    settings = Settings.from_env()
    name = collection or settings.collection
    with open_search_ports(settings, name) as ports:
        yield PersonsHere(name, ports)


class PersonsHere:
    """Implements `persons_of.Persons`."""

    def __init__(self, collection: str, ports: SearchPorts) -> None:
        self._collection = collection
        self._ports = ports
        self._caller = local_caller()

    def list(self) -> Iterator[Fields]:
        after = ""
        most = persons.MAX_PERSONS_OF_PAGE
        while page := persons.list_persons(
            self._collection, self._ports, self._caller, limit=most, after=after
        ):
            yield from map(person_json, page)
            after = page[-1].person.person_id

    def create(self, person_id: str) -> Fields:
        try:
            made = persons.create_person(self._collection, person_id, self._ports, self._caller)
        except ConflictError:
            return self.show(person_id)
        return person_json(made)

    def show(self, person_id: str) -> Fields:
        shown, _ = persons.show_person(self._collection, person_id, self._ports, self._caller)
        return person_json(shown)

    def delete(self, person_id: str) -> None:
        persons.delete_person(self._collection, person_id, self._ports, self._caller)

    def associate(self, person_id: str, faces: Sequence[str], min_score: float | None) -> Fields:
        done = associations.associate_faces(
            self._collection,
            person_id,
            faces,
            self._ports,
            self._caller,
            min_score=min_score,
        )
        return faces_changed_json(done)

    def dissociate(self, person_id: str, faces: Sequence[str]) -> Fields:
        done = associations.dissociate_faces(self._collection, person_id, faces, self._ports, self._caller)
        return faces_changed_json(done)
