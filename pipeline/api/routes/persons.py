"""Persons over the faces of a collection. They are searched for with `group_by` of a search."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from fastapi import Query as Parameter

from pipeline.api.backend import Asks, Ports
from pipeline.api.cursors import cursors_of
from pipeline.api.person_bodies import FacesChangedBody, FacesToAdd, FacesToRemove, PersonBody, Persons
from pipeline.errors import ConflictError
from pipeline.service import associations, persons
from pipeline.service.answers import faces_changed_json, person_json
from pipeline.service.persons import ShownPerson

router = APIRouter(prefix="/v1/collections/{collection}/persons", tags=["persons"])

PersonId = Annotated[
    str, PathParameter(min_length=1, max_length=persons.MAX_PERSON_ID_CHARS, examples=["employee-17"])
]


@router.get("")
def list_persons(
    collection: str,
    ports: Ports,
    caller: Asks,
    request: Request,
    max_results: Annotated[int, Parameter(ge=1, le=persons.MAX_PERSONS_OF_PAGE)] = 100,
    next_token: str = "",
) -> Persons:
    """The persons of a collection, by id."""
    cursors, of = cursors_of(request), f"persons of {caller.tenant} in {collection}"
    after = cursors.read(next_token, of=of) if next_token else ""
    found = persons.list_persons(collection, ports.search_ports(), caller, limit=max_results + 1, after=after)
    page = found[:max_results]
    more = cursors.sign(page[-1].person.person_id, of=of) if len(found) > max_results else None
    return Persons(persons=[_body(shown) for shown in page], next_token=more)


@router.put("/{person_id}", status_code=201)
def create_person(
    collection: str, person_id: PersonId, ports: Ports, caller: Asks, response: Response
) -> PersonBody:
    """Make a person without a face. One who is there already is shown, with status 200."""
    try:
        return _body(persons.create_person(collection, person_id, ports.search_ports(), caller))
    except ConflictError:
        response.status_code = 200
        return _body(persons.show_person(collection, person_id, ports.search_ports(), caller)[0])


@router.get("/{person_id}")
def show_person(collection: str, person_id: PersonId, ports: Ports, caller: Asks) -> PersonBody:
    """One person."""
    shown, _ = persons.show_person(collection, person_id, ports.search_ports(), caller)
    return _body(shown)


@router.delete("/{person_id}", status_code=204)
def delete_person(collection: str, person_id: PersonId, ports: Ports, caller: Asks) -> None:
    """Delete a person. The faces stay in the collection and are nobody's."""
    persons.delete_person(collection, person_id, ports.search_ports(), caller)


@router.post("/{person_id}/faces", response_model_exclude_none=True)
def associate_faces(
    collection: str, person_id: PersonId, body: FacesToAdd, ports: Ports, caller: Asks
) -> FacesChangedBody:
    """Say that faces are a person's. The first faces of a person are compared with nobody."""
    done = associations.associate_faces(
        collection,
        person_id,
        body.faces,
        ports.search_ports(),
        caller,
        min_score=body.min_score,
    )
    return FacesChangedBody.model_validate(faces_changed_json(done))


@router.post("/{person_id}/faces/remove", response_model_exclude_none=True)
def dissociate_faces(
    collection: str, person_id: PersonId, body: FacesToRemove, ports: Ports, caller: Asks
) -> FacesChangedBody:
    """Say that faces are not a person's any more. They stay in the collection."""
    done = associations.dissociate_faces(collection, person_id, body.faces, ports.search_ports(), caller)
    return FacesChangedBody.model_validate(faces_changed_json(done))


def _body(shown: ShownPerson) -> PersonBody:
    return PersonBody.model_validate(person_json(shown))
