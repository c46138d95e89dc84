"""SearchFaces, SearchFacesByImage, CompareFaces, DetectFaces. All pass the gate that every search passes."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Response

from pipeline.api.aws.errors import AwsError, aws_name
from pipeline.api.aws.middleware import FOLDER
from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.rekognition import members as m
from pipeline.api.rekognition.gate import Gate, open_gate
from pipeline.api.rekognition.names import collection_of
from pipeline.api.rekognition.pictures import query_of, read_picture
from pipeline.api.rekognition.quality import is_good_enough
from pipeline.api.rekognition.shapes import Shape, box, compared_face, confidence_of, face, version_at
from pipeline.api.stated import StatedInHeaders
from pipeline.errors import ErrorCode
from pipeline.search.example import Example
from pipeline.search.persons import owners_of
from pipeline.search.query import Bytes, Stored
from pipeline.service.face_ids import likely_row_of
from pipeline.service.faces import FoundFaces
from pipeline.service.index_faces import find_faces
from pipeline.service.search_values import SearchAnswer
from pipeline.types import CollectionRef, Face, FacePlace, SearchHit, face_metadata

router = APIRouter(prefix=FOLDER)

Named = Annotated[str, Header(max_length=255)]


@router.post("/SearchFaces")
def search_faces(
    body: Annotated[m.SearchFaces, m.members(m.SearchFaces)],
    ports: Ports,
    caller: Asks,
    stated: StatedInHeaders,
    response: Response,
) -> Shape:
    """The faces that are like a stored one, without itself."""
    gate = open_gate(collection_of(body.CollectionId), stated, ports, caller, response)
    row_id = row_id_of(body.FaceId, gate.target, ports)
    request = gate.request(body.MaxFaces, body.FaceMatchThreshold, itself=1)
    answer = gate.ask(Stored(text=body.FaceId, id=row_id), request)
    if answer.error:
        raise no_face(body.FaceId)
    hits = [hit for hit in answer.hits if hit.id != row_id]
    return {"SearchedFaceId": body.FaceId} | _matches(hits[: body.MaxFaces or len(hits)], answer, gate)


def no_face(face_id: str) -> AwsError:
    return AwsError("InvalidParameterException", f"FaceId: there is no face {face_id} in the collection")


def row_id_of(face_id: str, target: CollectionRef, ports: Backend) -> str:
    """One that is not there is looked for, too: the gate refuses and records before it says so."""
    found = find_faces([face_id], target, ports.search_ports(), latest=False) or find_faces(
        [face_id], target, ports.search_ports()
    )
    return found[face_id].id if face_id in found else likely_row_of(face_id)


@router.post("/SearchFacesByImage")
def search_faces_by_image(
    body: Annotated[m.SearchFacesByImage, m.members(m.SearchFacesByImage)],
    ports: Ports,
    caller: Asks,
    stated: StatedInHeaders,
    response: Response,
) -> Shape:
    """The faces that are like the largest one of a picture. Its other faces are not looked for."""
    gate = open_gate(collection_of(body.CollectionId), stated, ports, caller, response)
    query = query_of(body.Image, ports, caller, counts=partial(is_good_enough, level=body.QualityFilter))
    answer = gate.ask(query, gate.request(body.MaxFaces, body.FaceMatchThreshold))
    if answer.face is None:
        raise error_of(answer)
    searched: Shape = {"SearchedFaceBoundingBox": box(answer.face)}
    if (confidence := confidence_of(answer.face_metadata)) is not None:
        searched["SearchedFaceConfidence"] = confidence
    return searched | _matches(answer.hits, answer, gate)


def error_of(answer: SearchAnswer) -> AwsError:
    """Of a search with a picture that could not be read, or that shows no face that is good enough."""
    if answer.code == ErrorCode.INVALID_ARGUMENT:
        return AwsError("InvalidParameterException", "There are no faces in the image. Should be at least 1.")
    return AwsError(aws_name(ErrorCode.IMAGE_REJECTED, answer.code), answer.error)


@router.post("/DetectFaces")
def detect_faces(
    body: Annotated[m.DetectFaces, m.members(m.DetectFaces)],
    ports: Ports,
    caller: Asks,
    x_pictor_collection: Named = "",
) -> Shape:
    """The faces of a picture, the largest first, by the model of a collection. Nobody is looked for."""
    name = _collection_for("DetectFaces", x_pictor_collection, ports)
    picture = Bytes(text="picture", body=read_picture(body.Image, ports, caller))
    found = ports.detect_faces(picture, name, caller)
    details = [compared_face(face_metadata(place.box, known), place) for place, known in _faces_of(found)]
    return {"FaceDetails": details}


@router.post("/CompareFaces")
def compare_faces(
    body: Annotated[m.CompareFaces, m.members(m.CompareFaces)],
    ports: Ports,
    caller: Asks,
    stated: StatedInHeaders,
    response: Response,
    x_pictor_collection: Named = "",
) -> Shape:
    """The largest face of one picture with each of another, as the policy of a collection allows it."""
    name = _collection_for("CompareFaces", x_pictor_collection, ports)
    gate = open_gate(name, stated, ports, caller, response)
    request = gate.request(None, body.SimilarityThreshold)
    counts = partial(is_good_enough, level=body.QualityFilter)
    source = read_picture(body.SourceImage, ports, caller)
    first = Bytes(text="SourceImage", body=source, counts=counts, only_largest=True)
    second = Bytes(text="TargetImage", body=read_picture(body.TargetImage, ports, caller), counts=counts)
    with gate.in_similarity():
        found = ports.compare_faces(first, second, request, caller)
    gate.say(found.receipt)
    probe = _compared(found.probe)
    return {
        "SourceImageFace": {name: probe[name] for name in ("BoundingBox", "Confidence")},
        "FaceMatches": [
            {"Similarity": gate.scale.similarity_of(score), "Face": _compared(found.others[where])}
            for where, score in found.matches
        ],
        "UnmatchedFaces": [_compared(found.others[where]) for where in found.unmatched],
    }


def _compared(found: Example) -> Shape:
    assert found.face is not None, "pictures of this collection's model show faces"
    return compared_face(found.metadata, found.face)


def _faces_of(found: FoundFaces) -> list[tuple[FacePlace, Face]]:
    return [
        (FacePlace(box=where, width=found.width, height=found.height), known) for where, known in found.faces
    ]


def _collection_for(operation: str, named: str, ports: Backend) -> str:
    """Raises AwsError: no collection is named that answers for such an operation, or it is not there."""
    collection_id = named or ports.settings.rekognition_collection
    if not collection_id:
        raise AwsError(
            "InvalidParameterException",
            f"{operation} names no collection, and its model and policy are those of one: send the header "
            "X-Pictor-Collection, or whoever runs the service sets PICTOR_REKOGNITION_COLLECTION",
        )
    name = collection_of(collection_id)
    if ports.index.get_collection(name) is None:  # the model of the API has no better error for these two
        raise AwsError(
            "InvalidParameterException",
            f"{operation} is answered by collection {collection_id!r}, which is not there: make it, or name "
            "another one with the header X-Pictor-Collection or PICTOR_REKOGNITION_COLLECTION",
        )
    return name


def _matches(hits: Sequence[SearchHit], answer: SearchAnswer, gate: Gate) -> Shape:
    target = answer.target or gate.target
    version = version_at(target, gate.ports.index)
    users = owners_of(hits, target, gate.ports.persons)
    return {
        "FaceMatches": [
            {"Similarity": gate.scale.similarity_of(hit.score), "Face": face(hit, version, users.get(hit.id))}
            for hit in hits
        ],
        "FaceModelVersion": version,
    }
