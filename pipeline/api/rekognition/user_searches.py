"""SearchUsers and SearchUsersByImage. Both pass the gate that every search passes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Response

from pipeline.api.aws.errors import AwsError
from pipeline.api.aws.middleware import FOLDER
from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.rekognition import members as m
from pipeline.api.rekognition.names import collection_of
from pipeline.api.rekognition.pictures import read_picture
from pipeline.api.rekognition.quality import reasons_against
from pipeline.api.rekognition.scale import HEADER, Scale, scale_of
from pipeline.api.rekognition.searches import (
    asked_of_gate,
    faces_of,
    query_of_picture,
    row_id_of,
    search_request,
    search_target,
)
from pipeline.api.rekognition.shapes import Shape, compared_face, model_version
from pipeline.api.stated import StatedInHeaders
from pipeline.errors import NotFoundError
from pipeline.search.groups import GroupBy
from pipeline.search.query import Bytes, Person, Query, Stored
from pipeline.service.arguments import read_justification
from pipeline.service.search import SearchRequest
from pipeline.service.search_values import SearchAnswer
from pipeline.types import CollectionRef, FacePlace, PersonState, face_metadata
from pipeline.types import Face as KnownFace

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
    """The users who are like the largest face of a picture. Without a face, nobody is looked for."""
    why = read_justification(**stated.model_dump())
    target = search_target(collection_of(body.CollectionId), why, ports, caller)
    picture = read_picture(body.Image, ports, caller)
    scale = scale_of(target, ports.settings)
    found = ports.detect_faces(Bytes(text="picture", body=picture), target.name, caller)
    chosen, others = _largest(faces_of(found), body.QualityFilter)
    if chosen is None:
        response.headers[HEADER] = scale.version
        return {"UserMatches": [], "FaceModelVersion": _version(target, ports), "UnsearchedFaces": others}
    request = _of_persons(search_request(target, body.MaxUsers, body.UserMatchThreshold, why, scale, ports))
    query = query_of_picture(body.Image, picture, chosen[0].box)
    answer = asked_of_gate(query, request, scale, ports, caller, response)
    if answer.error:
        raise AwsError("InvalidParameterException", answer.error)
    seen: Shape = {"SearchedFace": {"FaceDetail": _detail(*chosen)}, "UnsearchedFaces": others}
    return seen | _matches(answer, scale, target, ports)


def _largest(
    faces: Sequence[tuple[FacePlace, KnownFace]], quality: str
) -> tuple[tuple[FacePlace, KnownFace] | None, list[Shape]]:
    """The first that is good enough, and all others with the reason why they are not searched for."""
    chosen: tuple[FacePlace, KnownFace] | None = None
    others: list[Shape] = []
    for place, known in faces:
        reasons = reasons_against(face_metadata(place.box, known), quality)
        if not reasons and chosen is None:
            chosen = place, known
        else:
            others.append({"FaceDetails": _detail(place, known), "Reasons": reasons or ["FACE_NOT_LARGEST"]})
    return chosen, others


def _detail(place: FacePlace, known: KnownFace) -> Shape:
    return compared_face(face_metadata(place.box, known), place)


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
