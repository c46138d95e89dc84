"""Persons over the faces of a collection: who there is, and which faces are whose.

Each change is recorded before it is made. Searches for persons pass the gate, see `service.search`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from pipeline.errors import ArgumentError, ConflictError, LimitError, NotFoundError
from pipeline.names import shown
from pipeline.ports import PersonBook
from pipeline.ports.image_rows import image_id_of_row
from pipeline.search.persons import is_still, mean_vector, owners_of, read_faces
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.act_records import enter_person_change
from pipeline.service.faces import target_of_faces
from pipeline.service.index_faces import IMAGE_ID
from pipeline.service.search import SearchPorts
from pipeline.types import (
    MAX_FACES_OF_PERSON,
    CollectionRef,
    IndexRow,
    Person,
    PersonFace,
    PersonState,
    Vector,
    place_of,
)

MAX_PERSONS_OF_PAGE = 500
PERSON_ID = re.compile(r"[a-zA-Z0-9_.\-:]{1,128}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownPerson:
    """`faces` are ids of rows that are there."""

    person: Person
    faces: tuple[str, ...] = ()

    @property
    def state(self) -> PersonState:
        return PersonState.ACTIVE if self.faces else PersonState.CREATED


class FaceRefusal(StrEnum):
    """Why a face was not associated or dissociated. A new reason is a change of the public contract."""

    NOT_FOUND = "face_not_found"
    OF_ANOTHER = "associated_to_another_person"
    LOW_MATCH = "low_match"


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedFace:
    """`owner` is whose face it is. `score` is the cosine to the mean of the person's faces."""

    face: str
    reason: FaceRefusal
    owner: str = ""
    score: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FacesChanged:
    """`changed` are ids of rows. What was so before is in neither list. `person` is as it is now."""

    person: ShownPerson
    changed: tuple[str, ...]
    refused: tuple[RefusedFace, ...]


def create_person(collection: str, person_id: str, ports: SearchPorts, caller: Caller) -> ShownPerson:
    """A person without a face.

    Raises:
        ArgumentError: nobody can have this id, or the collection is not one of faces.
        NotFoundError: there is no such collection.
        ConflictError: the person is there already.
        AuditError: it could not be recorded. Nobody was made.
    """
    target, book = _writable(collection, ports, caller)
    if not PERSON_ID.fullmatch(person_id):
        raise ArgumentError(
            f"person {shown(person_id)}: 1 to 128 of A-Z, a-z, 0-9 and _ . - : are expected as the id"
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
    target, book = _writable(collection, ports, caller)
    _find(collection, person_id, book)
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
        and int(face.row_id.partition(":")[2] or 0) < found.rows
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
    person = _find(collection, person_id, book)
    rows = read_faces([person_id], target, ports.index, book, latest=True).get(person_id, [])
    return ShownPerson(person=person, faces=tuple(row.id for row in rows)), rows


def count_persons(collection: str, ports: SearchPorts, caller: Caller) -> int:
    require(caller, Permission.READ)
    require_names(caller, collection=collection)
    return ports.known_persons.count(collection)


def persons_of(
    rows: Sequence[IndexRow], target: CollectionRef, ports: SearchPorts, caller: Caller
) -> Mapping[str, str]:
    """Whose faces these rows are, by the row's id. Those that are nobody's are missing."""
    require(caller, Permission.READ)
    return owners_of(rows, target, ports.known_persons)


def associate_faces(
    collection: str,
    person_id: str,
    row_ids: Sequence[str],
    ports: SearchPorts,
    caller: Caller,
    *,
    min_score: float,
) -> FacesChanged:
    """Say that faces are a person's. The same call twice changes nothing more.

    Args:
        row_ids: 1 to 100.
        min_score: cosine to the mean of the faces that the person has. It counts once there is one.

    Raises:
        NotFoundError: there is no such collection or person.
        LimitError: the person would have more than 100 faces. Nothing was changed.
        AuditError: it could not be recorded. Nothing was changed.
    """
    target, book = _writable(collection, ports, caller)
    person, wanted = _find(collection, person_id, book), _checked(row_ids)
    rows = {row.id: row for row in ports.index.get_rows(target, wanted)}
    own = read_faces([person_id], target, ports.index, book, latest=True).get(person_id, [])
    owners = owners_of(list(rows.values()), target, book)
    mean = mean_vector([row.vector for row in own]) if own else None
    refused = [
        why
        for row_id in wanted
        if owners.get(row_id) != person_id
        and (why := _refusal(row_id, rows.get(row_id), owners.get(row_id, ""), mean, min_score))
    ]
    no = {each.face for each in refused}
    new = [row_id for row_id in wanted if row_id not in no and row_id not in owners]
    if len(own) + len(new) > MAX_FACES_OF_PERSON:
        raise LimitError(
            f"person {person_id!r} has {len(own)} faces and would have {len(own) + len(new)}; "
            f"{MAX_FACES_OF_PERSON} are allowed, and none was added"
        )
    enter_person_change("associated", person_id, target, ports.answers_to, caller, faces=new)
    faces = [_face_of(rows[row_id]) for row_id in new]
    gone = _gone(person_id, own, [rows[row_id] for row_id in new], target, book)
    now = book.add_faces(collection, person_id, faces, gone=gone)
    taken = [
        RefusedFace(face=row_id, reason=FaceRefusal.OF_ANOTHER, owner=now[row_id])
        for row_id in new
        if now[row_id] != person_id  # by somebody who was faster
    ]
    added = tuple(row_id for row_id in new if now[row_id] == person_id)
    held = ShownPerson(person=person, faces=(*(row.id for row in own), *added))
    return FacesChanged(person=held, changed=added, refused=(*refused, *taken))


def _refusal(
    row_id: str, row: IndexRow | None, owner: str, mean: Vector | None, min_score: float
) -> RefusedFace | None:
    if row is None:
        return RefusedFace(face=row_id, reason=FaceRefusal.NOT_FOUND)
    if owner:
        return RefusedFace(face=row_id, reason=FaceRefusal.OF_ANOTHER, owner=owner)
    score = float(mean @ row.vector) if mean is not None else None
    if score is not None and score < min_score:
        return RefusedFace(face=row_id, reason=FaceRefusal.LOW_MATCH, score=score)
    return None


def _gone(
    person_id: str, own: Sequence[IndexRow], new: Sequence[IndexRow], target: CollectionRef, book: PersonBook
) -> list[str]:
    """What the book says of faces that are not there any more: of this person, and of rows that are new."""
    there = {row.id for row in own}
    held = book.faces_of(target.name, [person_id]).get(person_id, ())
    replaced = book.owners(target.name, [row.id for row in new])
    return [face.row_id for face in held if face.row_id not in there] + [
        row.id for row in new if row.id in replaced and not is_still(replaced[row.id][1], row)
    ]


def dissociate_faces(
    collection: str, person_id: str, row_ids: Sequence[str], ports: SearchPorts, caller: Caller
) -> FacesChanged:
    """Say that faces are not a person's. Those that are nobody's already are in neither list of the answer.

    Raises:
        NotFoundError: there is no such collection or person.
        AuditError: it could not be recorded. Nothing was changed.
    """
    target, book = _writable(collection, ports, caller)
    _find(collection, person_id, book)
    wanted = _checked(row_ids)
    rows = ports.index.get_rows(target, wanted)
    owners, there = owners_of(rows, target, book), {row.id for row in rows}
    mine = [row_id for row_id in wanted if owners.get(row_id) == person_id]
    refused = [
        RefusedFace(face=row_id, reason=FaceRefusal.NOT_FOUND) for row_id in wanted if row_id not in there
    ]
    refused += [
        RefusedFace(face=row_id, reason=FaceRefusal.OF_ANOTHER, owner=owner)
        for row_id, owner in owners.items()
        if owner != person_id
    ]
    enter_person_change("dissociated", person_id, target, ports.answers_to, caller, faces=mine)
    # Also what the book alone knows: a face that comes back is not the person's then.
    book.remove_faces(collection, person_id, wanted)
    held, _ = show_person(collection, person_id, ports, caller)
    return FacesChanged(person=held, changed=tuple(mine), refused=tuple(refused))


def _face_of(row: IndexRow) -> PersonFace:
    place = place_of(row.metadata, width=row.width, height=row.height)
    # The key of a face that came alone names the content of its picture, which no other version has.
    etag = "" if row.metadata.get(IMAGE_ID) else row.ref.etag
    return PersonFace(row_id=row.id, etag=etag, box=place.box if place else None)


def _checked(row_ids: Sequence[str]) -> list[str]:
    if not 1 <= len(row_ids) <= MAX_FACES_OF_PERSON:
        raise ArgumentError(f"{len(row_ids)} faces are named; 1 to {MAX_FACES_OF_PERSON} are expected")
    return list(dict.fromkeys(row_ids))


def _writable(collection: str, ports: SearchPorts, caller: Caller) -> tuple[CollectionRef, PersonBook]:
    require(caller, Permission.WRITE)
    return _known(collection, ports, caller)


def _readable(collection: str, ports: SearchPorts, caller: Caller) -> tuple[CollectionRef, PersonBook]:
    require(caller, Permission.READ)
    return _known(collection, ports, caller)


def _known(collection: str, ports: SearchPorts, caller: Caller) -> tuple[CollectionRef, PersonBook]:
    require_names(caller, collection=collection)
    return target_of_faces(collection, ports), ports.known_persons


def _find(collection: str, person_id: str, book: PersonBook) -> Person:
    found = book.find(collection, person_id)
    if found is None:
        raise NotFoundError(f"there is no person {shown(person_id)} in collection {collection!r}")
    return found


def _is_there(person: Person) -> ConflictError:
    return ConflictError(f"person {person.person_id!r} is in collection {person.collection!r} already")
