"""SearchUsers and SearchUsersByImage. Both pass the gate that every search passes."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Response

from pipeline.api.aws.errors import AwsError
from pipeline.api.aws.middleware import FOLDER
from pipeline.api.backend import Asks, Ports
from pipeline.api.rekognition import members as m
from pipeline.api.rekognition.gate import Gate, open_gate
from pipeline.api.rekognition.names import collection_of
from pipeline.api.rekognition.pictures import query_of
from pipeline.api.rekognition.quality import is_good_enough, reasons_against
from pipeline.api.rekognition.searches import error_of, no_face, row_id_of
from pipeline.api.rekognition.shapes import Shape, compared_face, version_at
from pipeline.api.stated import StatedInHeaders
from pipeline.errors import ErrorCode, NotFoundError
from pipeline.search.groups import GroupBy
from pipeline.search.query import Person, Query, Stored
from pipeline.service.search_values import SearchAnswer
from pipeline.types import PersonState, face_metadata

router = APIRouter(prefix=FOLDER)


@router.post("/SearchUsers")
def search_users(
    body: Annotated[m.SearchUsers, m.members(m.SearchUsers)],
    ports: Ports,
    caller: Asks,
    stated: StatedInHeaders,
    response: Response,
) -> Shape:
    """The users who are like a stored face or like another user, who is not among them."""
    if (body.UserId is None) == (body.FaceId is None):
        raise AwsError("InvalidParameterException", "either UserId or FaceId is expected")
    gate = open_gate(collection_of(body.CollectionId), stated, ports, caller, response)
    query: Query
    if body.UserId is not None:
        searched: Shape = {"SearchedUser": {"UserId": body.UserId}}
        query = Person(text=body.UserId, id=body.UserId)
    else:
        face_id = body.FaceId or ""
        searched = {"SearchedFace": {"FaceId": face_id}}
        query = Stored(text=face_id, id=row_id_of(face_id, gate.target, ports))
    answer = gate.ask(query, gate.request(body.MaxUsers, body.UserMatchThreshold, group_by=GroupBy.PERSON))
    if answer.error and body.UserId is not None:
        raise NotFoundError(answer.detail)
    if answer.error:
        raise no_face(face_id)
    return searched | _matches(answer, gate)


@router.post("/SearchUsersByImage")
def search_users_by_image(
    body: Annotated[m.SearchUsersByImage, m.members(m.SearchUsersByImage)],
    ports: Ports,
    caller: Asks,
    stated: StatedInHeaders,
    response: Response,
) -> Shape:
    """The users who are like the largest face of a picture. Without a face, nobody is found."""
    gate = open_gate(collection_of(body.CollectionId), stated, ports, caller, response)
    query = query_of(body.Image, ports, caller, counts=partial(is_good_enough, level=body.QualityFilter))
    answer = gate.ask(query, gate.request(body.MaxUsers, body.UserMatchThreshold, group_by=GroupBy.PERSON))
    if answer.face is None and answer.code != ErrorCode.INVALID_ARGUMENT:
        raise error_of(answer)
    seen: Shape = {"UnsearchedFaces": _unsearched(answer, body.QualityFilter)}
    if answer.face is not None:
        seen["SearchedFace"] = {"FaceDetail": compared_face(answer.face_metadata, answer.face)}
    return seen | _matches(answer, gate)


def _unsearched(answer: SearchAnswer, level: str) -> list[Shape]:
    """The other faces of the picture, each with the reasons why it was not searched for."""
    faces = [(place, face_metadata(place.box, known)) for place, known in answer.passed_over]
    return [
        {
            "FaceDetails": compared_face(metadata, place),
            "Reasons": reasons_against(metadata, level) or ["FACE_NOT_LARGEST"],
        }
        for place, metadata in faces
    ]


def _matches(answer: SearchAnswer, gate: Gate) -> Shape:
    status = PersonState.ACTIVE.upper()  # whoever is found has a face
    return {
        "UserMatches": [
            {
                "Similarity": gate.scale.similarity_of(hit.score),
                "User": {"UserId": person_id, "UserStatus": status},
            }
            for hit, person_id in zip(answer.hits, answer.persons, strict=True)
        ],
        "FaceModelVersion": version_at(answer.target or gate.target, gate.ports.index),
    }
