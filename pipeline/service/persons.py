"""Persons over the faces of a collection: who there is, and which faces are whose.

Each change is recorded before it is made. Searches for persons pass the gate, see `service.search`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.errors import ArgumentError, ConflictError, NotFoundError
from pipeline.names import shown
from pipeline.ports import PersonBook
from pipeline.ports.image_rows import image_id_of_row, view_place_of
from pipeline.search.persons import read_faces
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.act_records import enter_person_change
from pipeline.service.faces import permitted_target
from pipeline.service.search import SearchPorts
from pipeline.types import (
    CollectionRef,
    IndexRow,
    Person,
    PersonFace,
    PersonState,
)

MAX_PERSONS_OF_PAGE = 500
MAX_PERSON_ID_CHARS = 128
PERSON_ID = re.compile(rf"[a-zA-Z0-9_.\-:]{{1,{MAX_PERSON_ID_CHARS}}}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownPerson:
    """`faces` are ids of rows that are there."""

    person: Person
    faces: tuple[str, ...] = ()

    @property
    def state(self) -> PersonState:
        return PersonState.ACTIVE if self.faces else PersonState.CREATED


def create_person(collection: str, person_id: str, ports: SearchPorts, caller: Caller) -> ShownPerson:
    """A person without a face.

    Raises:
        ArgumentError: nobody can have this id, or the collection is not one of faces.
        NotFoundError: there is no such collection.
        ConflictError: the person is there already.
        AuditError: it could not be recorded. Nobody was made.
    """
    target, book = writable(collection, ports, caller)
    if not PERSON_ID.fullmatch(person_id):
        raise ArgumentError(
            f"person {shown(person_id)}: 1 to {MAX_PERSON_ID_CHARS} of A-Z, a-z, 0-9 and _ . - : "
            "are expected as the id"
        )
    person = Person(collection=collection, person_id=person_id, created_at=datetime.now(UTC))
    if book.find(collection, person_id) is not None:
        raise _is_there(person)
    enter_person_change("created", person_id, target, ports.answers_to, caller)
    if not book.create(person):
        raise _is_there(person)
    return ShownPerson(person=person)


def delete_person(collection: str, person_id: str, ports: SearchPorts, caller: Caller) -> None:
    """The faces stay, and are nobody's.

    Raises:
        NotFoundError: there is no such collection or person.
        AuditError: it could not be recorded. Nobody was deleted.
    """
    target, book = writable(collection, ports, caller)
    find_person(collection, person_id, book)
    enter_person_change("deleted", person_id, target, ports.answers_to, caller)
    book.delete(collection, person_id)


def list_persons(
    collection: str, ports: SearchPorts, caller: Caller, *, limit: int, after: str = ""
) -> list[ShownPerson]:
    """By id. Args: `after`: only those behind this id. Raises: as `show_person`."""
    target, book = _readable(collection, ports, caller)
    page = book.page(collection, limit=limit, after=after)
    faces = book.faces_of(collection, [person.person_id for person in page])
    there = _those_there([face for of in faces.values() for face in of], target, ports)
    return [
        ShownPerson(
            person=person,
            faces=tuple(face.row_id for face in faces.get(person.person_id, ()) if face.row_id in there),
        )
        for person in page
    ]


def _those_there(faces: Sequence[PersonFace], target: CollectionRef, ports: SearchPorts) -> set[str]:
    """Ids of those that the index has, without a look at their vectors."""
    images = list(dict.fromkeys(image_id_of_row(face.row_id) for face in faces))
    stored = ports.index.get_versions(target, images, latest=False) if images else {}
    return {
        face.row_id
        for face in faces
        if (found := stored.get(image_id_of_row(face.row_id)))
        and (not face.etag or found.etag in ("", face.etag))
        and view_place_of(face.row_id) in found.places
    }


def show_person(
    collection: str, person_id: str, ports: SearchPorts, caller: Caller
) -> tuple[ShownPerson, list[IndexRow]]:
    """One person, and the rows of their faces.

    Raises:
        ArgumentError: the collection is not one of faces.
        NotFoundError: there is no such collection or person.
        DeniedError: the caller may not look, or not at this collection.
    """
    target, book = _readable(collection, ports, caller)
    person = find_person(collection, person_id, book)
    rows = read_faces([person_id], target, ports.index, book, latest=True).get(person_id, [])
    return ShownPerson(person=person, faces=tuple(row.id for row in rows)), rows


def count_persons(collection: str, ports: SearchPorts, caller: Caller) -> int:
    require(caller, Permission.READ)
    require_names(caller, collection=collection)
    return ports.known_persons.count(collection)


def writable(collection: str, ports: SearchPorts, caller: Caller) -> tuple[CollectionRef, PersonBook]:
    return permitted_target(collection, Permission.WRITE, ports, caller), ports.known_persons


def _readable(collection: str, ports: SearchPorts, caller: Caller) -> tuple[CollectionRef, PersonBook]:
    return permitted_target(collection, Permission.READ, ports, caller), ports.known_persons


def find_person(collection: str, person_id: str, book: PersonBook) -> Person:
    found = book.find(collection, person_id)
    if found is None:
        raise NotFoundError(f"there is no person {shown(person_id)} in collection {collection!r}")
    return found


def _is_there(person: Person) -> ConflictError:
    return ConflictError(f"person {person.person_id!r} is in collection {person.collection!r} already")
