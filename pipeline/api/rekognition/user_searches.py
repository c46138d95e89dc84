"""SearchUsers and SearchUsersByImage. Both pass the gate that every search passes."""

from dataclasses import replace
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Response

from pipeline.api.aws.errors import AwsError
from pipeline.api.aws.middleware import FOLDER
from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.rekognition import members as m
from pipeline.api.rekognition.names import collection_of
from pipeline.api.rekognition.pictures import query_of
from pipeline.api.rekognition.quality import is_good_enough, reasons_against
from pipeline.api.rekognition.scale import Scale, scale_of
from pipeline.api.rekognition.searches import (
    asked_of_gate,
    error_of,
    row_id_of,
    search_request,
    search_target,
)
from pipeline.api.rekognition.shapes import Shape, compared_face, model_version
from pipeline.api.stated import StatedInHeaders
from pipeline.errors import ErrorCode, NotFoundError
from pipeline.search.groups import GroupBy
from pipeline.search.query import Person, Query, Stored
from pipeline.service.arguments import read_justification
from pipeline.service.search import SearchRequest
from pipeline.service.search_values import SearchAnswer
from pipeline.types import CollectionRef, PersonState, face_metadata

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
    why = read_justification(**stated.model_dump())
    target = search_target(collection_of(body.CollectionId), why, ports, caller)
    query: Query
    if body.UserId is not None:
        searched: Shape = {"SearchedUser": {"UserId": body.UserId}}
        query = Person(text=body.UserId, id=body.UserId)
    else:
        face_id = body.FaceId or ""
        searched = {"SearchedFace": {"FaceId": face_id}}
        query = Stored(text=face_id, id=row_id_of(face_id, target, ports))
    scale = scale_of(target, ports.settings)
    request = _of_persons(search_request(target, body.MaxUsers, body.UserMatchThreshold, why, scale, ports))
    answer = asked_of_gate(query, request, scale, ports, caller, response)
    if answer.error and body.UserId is not None:
        raise NotFoundError(answer.error.removeprefix(f"{answer.code}: "))
    if answer.error:
        raise AwsError("InvalidParameterException", f"FaceId: there is no face {face_id} in the collection")
    return searched | _matches(answer, scale, target, ports)


@router.post("/SearchUsersByImage")
def search_users_by_image(
    body: Annotated[m.SearchUsersByImage, m.members(m.SearchUsersByImage)],
    ports: Ports,
    caller: Asks,
    stated: StatedInHeaders,
    response: Response,
) -> Shape:
    """The users who are like the largest face of a picture. Without a face, nobody is found."""
    why = read_justification(**stated.model_dump())
    target = search_target(collection_of(body.CollectionId), why, ports, caller)
    query = query_of(body.Image, ports, caller, counts=partial(is_good_enough, level=body.QualityFilter))
    scale = scale_of(target, ports.settings)
    request = _of_persons(search_request(target, body.MaxUsers, body.UserMatchThreshold, why, scale, ports))
    answer = asked_of_gate(query, request, scale, ports, caller, response)
    if answer.face is None and answer.code != ErrorCode.INVALID_ARGUMENT:
        raise error_of(answer)
    seen: Shape = {"UnsearchedFaces": _unsearched(answer, body.QualityFilter)}
    if answer.face is not None:
        seen["SearchedFace"] = {"FaceDetail": compared_face(answer.face_metadata, answer.face)}
    return seen | _matches(answer, scale, target, ports)


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


def _of_persons(request: SearchRequest) -> SearchRequest:
    return replace(request, group_by=GroupBy.PERSON)


def _matches(answer: SearchAnswer, scale: Scale, target: CollectionRef, ports: Backend) -> Shape:
    status = PersonState.ACTIVE.upper()  # whoever is found has a face
    return {
        "UserMatches": [
            {
                "Similarity": scale.similarity_of(hit.score),
                "User": {"UserId": person_id, "UserStatus": status},
            }
            for hit, person_id in zip(answer.hits, answer.persons, strict=True)
        ],
        "FaceModelVersion": _version(answer.target or target, ports),
    }


def _version(target: CollectionRef, ports: Backend) -> str:
    return model_version(ports.index.model_of(target).name, target.fingerprint)
