"""CreateUser, DeleteUser, ListUsers, AssociateFaces, DisassociateFaces."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Request

from pipeline.api.aws.middleware import FOLDER
from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.cursors import cursors_of
from pipeline.api.rekognition import members as m
from pipeline.api.rekognition.names import collection_of
from pipeline.api.rekognition.paging import read_token
from pipeline.api.rekognition.shapes import Shape
from pipeline.api.rekognition.tokens import answered_once
from pipeline.evaluation.scale import Scale
from pipeline.service import persons
from pipeline.service.access import Permission
from pipeline.service.associations import (
    FaceRefusal,
    FacesChanged,
    RefusedFace,
    associate_faces,
    dissociate_faces,
)
from pipeline.service.face_ids import face_id_of, likely_row_of
from pipeline.service.faces import permitted_target
from pipeline.service.index_faces import find_faces
from pipeline.service.persons import ShownPerson
from pipeline.types import CollectionRef

router = APIRouter(prefix=FOLDER)

REASONS: Mapping[FaceRefusal, str] = {
    FaceRefusal.NOT_FOUND: "FACE_NOT_FOUND",
    FaceRefusal.OF_ANOTHER: "ASSOCIATED_TO_A_DIFFERENT_USER",
    FaceRefusal.LOW_MATCH: "LOW_MATCH_CONFIDENCE",
}


@router.post("/CreateUser")
def create_user(body: Annotated[m.CreateUser, m.members(m.CreateUser)], ports: Ports, caller: Asks) -> Shape:
    """A user without a face."""

    def create() -> Shape:
        persons.create_person(collection_of(body.CollectionId), body.UserId, ports.search_ports(), caller)
        return {}

    return answered_once("CreateUser", body, ports, caller, create)


@router.post("/DeleteUser")
def delete_user(body: Annotated[m.DeleteUser, m.members(m.DeleteUser)], ports: Ports, caller: Asks) -> Shape:
    """The faces stay in the collection."""

    def delete() -> Shape:
        persons.delete_person(collection_of(body.CollectionId), body.UserId, ports.search_ports(), caller)
        return {}

    return answered_once("DeleteUser", body, ports, caller, delete)


@router.post("/ListUsers")
def list_users(
    body: Annotated[m.ListUsers, m.members(m.ListUsers)], ports: Ports, caller: Asks, request: Request
) -> Shape:
    """By id."""
    name = collection_of(body.CollectionId)
    cursors, of = cursors_of(request), f"rekognition users\0{caller.tenant}\0{name}"
    after = read_token(body.NextToken, cursors, of=of)
    found = persons.list_persons(name, ports.search_ports(), caller, limit=body.MaxResults + 1, after=after)
    page = found[: body.MaxResults]
    made: Shape = {"Users": [user(each) for each in page]}
    has_more = len(page) < len(found)
    return made | ({"NextToken": cursors.sign(page[-1].person.person_id, of=of)} if has_more else {})


def user(shown: ShownPerson) -> Shape:
    return {"UserId": shown.person.person_id, "UserStatus": shown.state.upper()}


@router.post("/AssociateFaces")
def associate(
    body: Annotated[m.AssociateFaces, m.members(m.AssociateFaces)], ports: Ports, caller: Asks
) -> Shape:
    """Faces that are like those of a user become the user's. The first ones of a user need be like nobody."""

    def work() -> Shape:
        name = collection_of(body.CollectionId)
        target = permitted_target(name, Permission.WRITE, ports.search_ports(), caller)
        rows, scale = _rows_of(body, target, ports), ports.answers_to.scale_of(target)
        done = associate_faces(
            target.name,
            body.UserId,
            list(rows),
            ports.search_ports(),
            caller,
            min_score=scale.cosine_of(body.UserMatchThreshold),
        )
        return {
            "AssociatedFaces": _changed(done, rows),
            "UnsuccessfulFaceAssociations": [_refused(each, rows, scale) for each in done.refused],
            "UserStatus": done.person.state.upper(),
        }

    return answered_once("AssociateFaces", body, ports, caller, work)


@router.post("/DisassociateFaces")
def disassociate(
    body: Annotated[m.DisassociateFaces, m.members(m.DisassociateFaces)], ports: Ports, caller: Asks
) -> Shape:
    """Faces of a user become nobody's."""

    def work() -> Shape:
        name = collection_of(body.CollectionId)
        target = permitted_target(name, Permission.WRITE, ports.search_ports(), caller)
        rows = _rows_of(body, target, ports)
        done = dissociate_faces(target.name, body.UserId, list(rows), ports.search_ports(), caller)
        scale = ports.answers_to.scale_of(target)
        return {
            "DisassociatedFaces": _changed(done, rows),
            "UnsuccessfulFaceDisassociations": [_refused(each, rows, scale) for each in done.refused],
            "UserStatus": done.person.state.upper(),
        }

    return answered_once("DisassociateFaces", body, ports, caller, work)


def _rows_of(body: m.FacesOfUser, target: CollectionRef, ports: Backend) -> dict[str, str]:
    """Ids of faces by the id of their row. One that is not there has the id of a row that is not there."""
    found = find_faces(body.FaceIds, target, ports.search_ports())
    return {
        found[face_id].id if face_id in found else likely_row_of(face_id): face_id for face_id in body.FaceIds
    }


def _changed(done: FacesChanged, rows: Mapping[str, str]) -> list[Shape]:
    return [{"FaceId": rows[row_id]} for row_id in done.changed]


def _refused(each: RefusedFace, rows: Mapping[str, str], scale: Scale) -> Shape:
    made: Shape = {"FaceId": rows.get(each.face) or face_id_of(each.face), "Reasons": [REASONS[each.reason]]}
    made |= {"UserId": each.owner} if each.owner else {}
    return made | ({"Confidence": scale.similarity_of(each.score)} if each.score is not None else {})
