"""SearchFaces, SearchFacesByImage, CompareFaces, DetectFaces. All pass the gate that every search passes."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Response

from pipeline.api.aws.errors import AwsError, aws_name
from pipeline.api.aws.middleware import FOLDER
from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.rekognition import members as m
from pipeline.api.rekognition.names import collection_of
from pipeline.api.rekognition.pictures import query_of, read_picture
from pipeline.api.rekognition.quality import is_good_enough
from pipeline.api.rekognition.scale import DEFAULT_THRESHOLD, HEADER, Scale, scale_of
from pipeline.api.rekognition.shapes import Shape, box, compared_face, confidence_of, face, model_version
from pipeline.api.routes.search import RECEIPT_HEADER
from pipeline.api.stated import StatedInHeaders
from pipeline.errors import DeniedError, ErrorCode, PolicyError
from pipeline.ports.image_rows import view_row_id
from pipeline.search.examples import Example
from pipeline.search.persons import owners_of
from pipeline.search.query import Bytes, Query, Stored
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.arguments import read_justification, read_search
from pipeline.service.faces import FoundFaces, target_of_faces
from pipeline.service.index_faces import find_faces
from pipeline.service.search import SearchRequest
from pipeline.service.search_values import SearchAnswer
from pipeline.types import (
    AuditReceipt,
    CollectionPolicy,
    CollectionRef,
    Face,
    FacePlace,
    Justification,
    RefusalReason,
    SearchHit,
    face_metadata,
)

router = APIRouter(prefix=FOLDER)

DEFAULT_MAX_FACES = 80  # where neither the request nor the policy says how many
INDEX_HEADER = "x-pictor-receipt-index"
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
    why = read_justification(**stated.model_dump())
    target = search_target(collection_of(body.CollectionId), why, ports, caller)
    row_id = row_id_of(body.FaceId, target, ports)
    scale = scale_of(target, ports.settings)
    request = search_request(target, body.MaxFaces, body.FaceMatchThreshold, why, scale, ports, itself=1)
    answer = asked_of_gate(Stored(text=body.FaceId, id=row_id), request, scale, ports, caller, response)
    if answer.error:
        raise AwsError(
            "InvalidParameterException", f"FaceId: there is no face {body.FaceId} in the collection"
        )
    hits = [hit for hit in answer.hits if hit.id != row_id]
    return {"SearchedFaceId": body.FaceId} | _matches(
        hits[: body.MaxFaces or len(hits)], scale, answer.target or target, ports
    )


def row_id_of(face_id: str, target: CollectionRef, ports: Backend) -> str:
    """One that is not there is looked for, too: the gate refuses and records before it says so."""
    found = find_faces([face_id], target, ports.search_ports(), latest=False) or find_faces(
        [face_id], target, ports.search_ports()
    )
    return found[face_id].id if face_id in found else view_row_id(face_id.replace("-", ""), 0)


@router.post("/SearchFacesByImage")
def search_faces_by_image(
    body: Annotated[m.SearchFacesByImage, m.members(m.SearchFacesByImage)],
    ports: Ports,
    caller: Asks,
    stated: StatedInHeaders,
    response: Response,
) -> Shape:
    """The faces that are like the largest one of a picture. Its other faces are not looked for."""
    why = read_justification(**stated.model_dump())
    target = search_target(collection_of(body.CollectionId), why, ports, caller)
    query = query_of(body.Image, ports, caller, counts=partial(is_good_enough, level=body.QualityFilter))
    scale = scale_of(target, ports.settings)
    request = search_request(target, body.MaxFaces, body.FaceMatchThreshold, why, scale, ports)
    answer = asked_of_gate(query, request, scale, ports, caller, response)
    if answer.face is None:
        raise error_of(answer)
    searched: Shape = {"SearchedFaceBoundingBox": box(answer.face)}
    if (confidence := confidence_of(answer.face_metadata)) is not None:
        searched["SearchedFaceConfidence"] = confidence
    return searched | _matches(answer.hits, scale, answer.target or target, ports)


def error_of(answer: SearchAnswer) -> AwsError:
    """Of a search with a picture that could not be read, or that shows no face that is good enough."""
    if answer.code == ErrorCode.INVALID_ARGUMENT:
        return AwsError("InvalidParameterException", "There are no faces in the image. Should be at least 1.")
    detail = answer.error.removeprefix(f"{answer.code}: ")
    return AwsError(aws_name(ErrorCode.IMAGE_REJECTED, answer.code), f"{answer.code}: {detail}")


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
    details = [compared_face(face_metadata(place.box, known), place) for place, known in faces_of(found)]
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
    why = read_justification(**stated.model_dump())
    target = search_target(name, why, ports, caller)
    scale = scale_of(target, ports.settings)
    request = search_request(target, None, body.SimilarityThreshold, why, scale, ports)
    counts = partial(is_good_enough, level=body.QualityFilter)
    source = read_picture(body.SourceImage, ports, caller)
    first = Bytes(text="SourceImage", body=source, counts=counts, only_largest=True)
    second = Bytes(text="TargetImage", body=read_picture(body.TargetImage, ports, caller), counts=counts)
    with _Words(scale, ports, name):
        found = ports.compare_faces(first, second, request, caller)
    _say(response, found.receipt, scale)
    probe = _compared(found.probe)
    return {
        "SourceImageFace": {name: probe[name] for name in ("BoundingBox", "Confidence")},
        "FaceMatches": [
            {"Similarity": scale.similarity_of(score), "Face": _compared(found.others[where])}
            for where, score in found.matches
        ],
        "UnmatchedFaces": [_compared(found.others[where]) for where in found.unmatched],
    }


def _compared(found: Example) -> Shape:
    assert found.face is not None, "pictures of this collection's model show faces"
    return compared_face(found.metadata, found.face)


def faces_of(found: FoundFaces) -> list[tuple[FacePlace, Face]]:
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


def search_target(name: str, why: Justification, ports: Backend, caller: Caller) -> CollectionRef:
    try:
        require(caller, Permission.SEARCH)
        require_names(caller, collection=name)
    except DeniedError:  # the gate says so, too, and records that somebody tried
        ports.search([Stored(text="", id="")], read_search(collection=name, justification=why), caller)
        raise
    return target_of_faces(name, ports.search_ports())


def search_request(
    target: CollectionRef,
    most: int | None,
    threshold: float | None,
    why: Justification,
    scale: Scale,
    ports: Backend,
    *,
    itself: int = 0,
) -> SearchRequest:
    """What is left out is the API's default, or what the policy allows if that is less.

    Args:
        itself: hits beside those that are wanted.
    """
    version = ports.answers_to.policy_of(target.name)
    policy = version.policy if version else None
    k = (most or DEFAULT_MAX_FACES) + itself
    if policy is not None and policy.max_k is not None and (most is None or most <= policy.max_k):
        k = min(k, policy.max_k)
    least = scale.cosine_of(DEFAULT_THRESHOLD if threshold is None else threshold)
    if threshold is None and policy is not None:
        least = max(least, *_floors(policy, scale))
    return read_search(collection=target.name, k=k, min_score=least, justification=why)


def _floors(policy: CollectionPolicy, scale: Scale) -> tuple[float, ...]:
    """The cosines that a policy wants at least."""
    similarity = policy.min_similarity
    of_similarity = None if similarity is None else scale.cosine_of(similarity)
    return tuple(floor for floor in (policy.min_score, of_similarity) if floor is not None)


def asked_of_gate(
    query: Query, request: SearchRequest, scale: Scale, ports: Backend, caller: Caller, response: Response
) -> SearchAnswer:
    with _Words(scale, ports, request.collection):
        (answer,) = ports.search([query], request, caller)
    _say(response, answer.receipt, scale)
    return answer


class _Words:
    """Says the floor of a policy as the similarity that a client knows."""

    def __init__(self, scale: Scale, ports: Backend, collection: str) -> None:
        self._scale, self._ports, self._collection = scale, ports, collection

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if not isinstance(err, PolicyError) or err.reason != RefusalReason.THRESHOLD_BELOW_FLOOR:
            return
        version = self._ports.answers_to.policy_of(self._collection)
        floors = _floors(version.policy, self._scale) if version else ()
        if not floors:
            return
        floor = self._scale.similarity_of(max(floors))
        detail = str(err).removeprefix(f"{err.reason}: ")
        of_api = "FaceMatchThreshold, UserMatchThreshold or SimilarityThreshold"
        said = f"{detail}, which is a {of_api} of {floor:.4f}"
        raise PolicyError(err.reason, said, err.record_id) from err


def _say(response: Response, receipt: AuditReceipt | None, scale: Scale) -> None:
    response.headers[RECEIPT_HEADER] = receipt.record_id if receipt else "recording off"
    if receipt is not None:
        response.headers[INDEX_HEADER] = str(receipt.index)
    response.headers[HEADER] = scale.version


def _matches(hits: Sequence[SearchHit], scale: Scale, target: CollectionRef, ports: Backend) -> Shape:
    version = model_version(ports.index.model_of(target).name, target.fingerprint)
    users = owners_of(hits, target, ports.persons)
    return {
        "FaceMatches": [
            {"Similarity": scale.similarity_of(hit.score), "Face": face(hit, version, users.get(hit.id))}
            for hit in hits
        ],
        "FaceModelVersion": version,
    }
