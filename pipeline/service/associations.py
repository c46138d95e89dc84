"""Which faces are a person's. Each change is recorded before it is made (decision 0131)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import ArgumentError, LimitError
from pipeline.ports import VectorIndex
from pipeline.search.persons import is_still, mean_vector, owners_of, read_faces
from pipeline.search.ranking import to_score
from pipeline.service.access import Caller
from pipeline.service.act_records import enter_person_change
from pipeline.service.index_faces import IMAGE_ID
from pipeline.service.persons import ShownPerson, find_person, show_person, writable
from pipeline.service.search import SearchPorts
from pipeline.types import MAX_FACES_OF_PERSON, CollectionRef, IndexRow, PersonFace, Vector, place_of

DEFAULT_SIMILARITY = 75.0


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


def associate_faces(
    collection: str,
    person_id: str,
    row_ids: Sequence[str],
    ports: SearchPorts,
    caller: Caller,
    *,
    min_score: float | None = None,
) -> FacesChanged:
    """Say that faces are a person's. The same call twice changes nothing more.

    Args:
        row_ids: 1 to 100.
        min_score: cosine to the mean of the faces that the person has. It counts once there is one. By
            default that of `DEFAULT_SIMILARITY`.

    Raises:
        NotFoundError: there is no such collection or person.
        LimitError: the person would have more than 100 faces. Nothing was changed.
        AuditError: it could not be recorded. Nothing was changed.
    """
    target, book = writable(collection, ports, caller)
    person, wanted = find_person(collection, person_id, book), _checked(row_ids)
    rows = {row.id: row for row in ports.index.get_rows(target, wanted)}
    own = read_faces([person_id], target, ports.index, book, latest=True).get(person_id, [])
    owners = owners_of(list(rows.values()), target, book)
    mean = mean_vector([row.vector for row in own]) if own else None
    if min_score is None:
        min_score = ports.answers_to.scale_of(target).cosine_of(DEFAULT_SIMILARITY)
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
    scores = [_score(rows[row_id], mean) for row_id in new] if mean is not None else []
    enter_person_change("associated", person_id, target, ports.answers_to, caller, faces=new, scores=scores)
    faces = [_face_of(rows[row_id]) for row_id in new]
    gone = _gone(person_id, own, [rows[row_id] for row_id in new], target, ports)
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
    score = _score(row, mean) if mean is not None else None
    if score is not None and score < min_score:
        return RefusedFace(face=row_id, reason=FaceRefusal.LOW_MATCH, score=score)
    return None


def _score(row: IndexRow, mean: Vector) -> float:
    return to_score(float(mean @ row.vector))


def _gone(
    person_id: str,
    own: Sequence[IndexRow],
    new: Sequence[IndexRow],
    target: CollectionRef,
    ports: SearchPorts,
) -> list[str]:
    """What the book says of faces that are not there any more: of this person, and of rows that are new."""
    book, there = ports.known_persons, {row.id for row in own}
    held = book.faces_of(target.name, [person_id]).get(person_id, ())
    missing = {face.row_id: face for face in held if face.row_id not in there}
    elsewhere = _in_other_generations(missing, target, ports.index)
    replaced = book.owners(target.name, [row.id for row in new])
    return [row_id for row_id in missing if row_id not in elsewhere] + [
        row.id for row in new if row.id in replaced and not is_still(replaced[row.id][1], row)
    ]


def _in_other_generations(
    faces: Mapping[str, PersonFace], target: CollectionRef, index: VectorIndex
) -> set[str]:
    """Those that another model has found. They are the person's again once its generation is live again."""
    others = [info.ref for info in index.list_generations(target.name) if info.ref != target]
    return {
        row.id
        for ref in (others if faces else ())
        for row in index.get_rows(ref, [*faces])
        if is_still(faces[row.id], row)
    }


def dissociate_faces(
    collection: str, person_id: str, row_ids: Sequence[str], ports: SearchPorts, caller: Caller
) -> FacesChanged:
    """Say that faces are not a person's. Those that are nobody's already are in neither list of the answer.

    Raises:
        NotFoundError: there is no such collection or person.
        AuditError: it could not be recorded. Nothing was changed.
    """
    target, book = writable(collection, ports, caller)
    find_person(collection, person_id, book)
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
