"""Search by stored id, by an object of the store, by a vector or by a picture that comes with the request."""

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Body, Response
from fastapi import Query as Parameter
from pydantic_core import to_json

from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.bodies import MAX_TEXT_CHARS, BoxBody, Stated
from pipeline.api.routes.direct import DirectSearch
from pipeline.api.search_bodies import (
    EMBEDDING,
    GROUP_BY,
    MAX_EMBEDDING_CHARS,
    MAX_HITS_OVER_HTTP,
    MAX_VECTORS,
    MAX_WHERE_CHARS,
    QueryBody,
    SearchAnswerBody,
    SearchBatchBody,
    SearchBody,
    SearchOptions,
)
from pipeline.api.stated import StatedInHeaders, justification_of
from pipeline.errors import ArgumentError, ErrorCode, ImageError, ModelError, NotFoundError, TargetError
from pipeline.names import MAIN_EMBEDDING
from pipeline.ports.model_binding import find_collection, model_of_embedding
from pipeline.search.query import Bytes, Object, Person, Query, Shown, Stored, Vector
from pipeline.service.access import Caller
from pipeline.service.answers import answer_json
from pipeline.service.arguments import ROW_ID, read_search
from pipeline.service.conditions import read_condition, read_condition_text
from pipeline.service.query_words import read_words
from pipeline.service.search import SearchAnswer, SearchRequest
from pipeline.types import Box, Condition, Reason

RECEIPT_HEADER = "x-pictor-receipt"

router = APIRouter(prefix="/v1/collections/{collection}/search", tags=["search"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """`document` is a `SearchAnswerBody`, which is not made for each answer: to check it takes as long."""

    document: Mapping[str, object]
    answers: Sequence[SearchAnswer]


def search(
    collection: str,
    body: SearchBody,
    ports: Ports,
    caller: Asks,
    stated: StatedInHeaders,
) -> Response:
    """The stored images nearest to one example. A query that cannot be read is an error of the request."""
    found = _search(collection, [read_body(body.query, ports)], body, stated, ports, caller)
    return _single(found)


router.add_api_route(
    "",
    search,
    methods=["POST"],
    response_model=SearchAnswerBody,
    response_model_exclude_none=True,
    route_class_override=DirectSearch,
)


@router.post("/batch", response_model=SearchAnswerBody, response_model_exclude_none=True)
def search_batch(
    collection: str, body: SearchBatchBody, ports: Ports, caller: Asks, stated: StatedInHeaders
) -> Response:
    """An answer for each of several examples, in order.

    A query that cannot be read has `error` and `code` in its own answer, and costs nobody else's.
    """
    queries = [read_body(query, ports) for query in body.queries]
    return _sent(_search(collection, queries, body, stated, ports, caller))


@router.post("/image", response_model=SearchAnswerBody, response_model_exclude_none=True)
def search_image(
    collection: str,
    picture: Annotated[bytes, Body(media_type="application/octet-stream", description="Of any known format")],
    ports: Ports,
    caller: Asks,
    stated: StatedInHeaders,
    k: Annotated[int, Parameter(ge=1, le=MAX_HITS_OVER_HTTP)] = 10,
    min_score: Annotated[float | None, Parameter(ge=-1, le=1)] = None,
    bucket: Annotated[str, Parameter(max_length=MAX_TEXT_CHARS)] = "",
    prefix: Annotated[str, Parameter(max_length=MAX_TEXT_CHARS)] = "",
    where: Annotated[
        str, Parameter(max_length=MAX_WHERE_CHARS, description="A Condition, as JSON text")
    ] = "",
    with_vector: Annotated[bool, Parameter(description="Also the vector of each hit")] = False,
    group_by: Annotated[Literal["", "image", "person"], Parameter(description=GROUP_BY)] = "",
    embedding: Annotated[str, Parameter(max_length=MAX_EMBEDDING_CHARS, description=EMBEDDING)] = "",
) -> Response:
    """The stored images nearest to the picture that is the body of the request. It is not kept."""
    request = read_search(
        collection=collection,
        k=k,
        min_score=min_score,
        bucket=bucket,
        prefix=prefix,
        condition=read_condition_text(where),
        with_vector=with_vector,
        group_by=group_by,
        embedding=embedding,
        justification=justification_of(stated),
    )
    return _single(_answered(request, [Bytes(text="picture", body=picture)], ports, caller))


def read_body(body: QueryBody, ports: Backend) -> Query:
    """The query that the body means.

    Raises:
        ArgumentError: no id, no base64, words that nobody can read.
        DeniedError: an object in a place that this service may not read.
    """
    return read_words(_picture_of(body, ports), **body.words)


def _picture_of(body: QueryBody, ports: Backend) -> Shown | None:
    if body.id is not None:
        if not ROW_ID.fullmatch(body.id):
            raise ArgumentError(f"id {body.id[:80]!r}: 32 hex digits are expected")
        return Stored(text=body.id, id=body.id)
    if body.object is not None:
        bucket, key = body.object.bucket, body.object.key
        ports.places.check_object(bucket, key)
        return Object(text=f"{bucket}/{key}", bucket=bucket, key=key, box=read_box(body.box))
    if body.vector is not None:
        return Vector(text="vector", values=np.asarray(body.vector, dtype=np.float32))
    if body.person is not None:
        return Person(text=body.person, id=body.person)
    if body.image is None:
        return None
    try:
        picture = base64.b64decode(body.image, validate=True)
    except ValueError as err:
        raise ArgumentError("image: base64 is expected") from err
    return Bytes(text="picture", body=picture, box=read_box(body.box))


def read_box(body: BoxBody | None) -> Box | None:
    return Box(left=body.left, top=body.top, width=body.width, height=body.height) if body else None


def _search(
    collection: str,
    queries: list[Query],
    options: SearchOptions,
    stated: Stated,
    ports: Backend,
    caller: Caller,
) -> Told:
    request = read_search(
        collection=collection,
        k=options.k,
        min_score=options.min_score,
        bucket=options.filter.bucket,
        prefix=options.filter.prefix,
        metadata=options.filter.metadata,
        condition=_condition(options.filter.where),
        with_vector=options.with_vector,
        group_by=options.group_by,
        embedding=options.embedding,
        justification=justification_of(stated, options.justification),
    )
    vectors = len(queries) * options.k if options.with_vector else 0
    if vectors > MAX_VECTORS:
        raise ArgumentError(
            f"with_vector: {len(queries)} queries of {options.k} hits may have {vectors} vectors; "
            f"at most {MAX_VECTORS} are allowed"
        )
    return _answered(request, queries, ports, caller)


def _condition(value: object) -> Condition | None:
    return None if value is None else read_condition(value, of="filter.where")


def _answered(request: SearchRequest, queries: list[Query], ports: Backend, caller: Caller) -> Told:
    started = time.perf_counter()
    try:
        answers = ports.search(queries, request, caller)
    except TargetError:
        find_collection(request.collection, ports.index)  # raises, and names those that are there
        raise
    target = answers[0].target
    assert target is not None, "each query has its answer, and each answer its generation"
    model = model_of_embedding(target, request.embedding, ports.index)
    document: dict[str, object] = {
        "collection": target.name,
        "embedding": request.embedding or MAIN_EMBEDDING,
        "model": model.name,
        "fingerprint": model.fingerprint,
        "generation": target.generation,
        "seconds": round(time.perf_counter() - started, 6),
        "stage_seconds": {stage: round(seconds, 6) for stage, seconds in answers[0].seconds.items()},
        "answers": [answer_json(answer) for answer in answers],
    }
    return Told(document=document, answers=answers)


def _single(told: Told) -> Response:
    """Raises the fault of the only query, so that the status of the answer says so."""
    (answer,) = told.answers
    if not answer.error:
        receipt = answer.receipt.record_id if answer.receipt else "recording off"
        return _sent(told, {RECEIPT_HEADER: receipt})
    if answer.code in {reason.value for reason in Reason}:
        raise _error_of(Reason(answer.code), answer.detail)
    if answer.code == ErrorCode.MODEL_UNUSABLE:
        raise ModelError(answer.detail)
    raise ArgumentError(answer.detail)


def _sent(told: Told, headers: Mapping[str, str] | None = None) -> Response:
    """As JSON that is made here: FastAPI would hand the answer to another thread and back for it."""
    return Response(to_json(told.document), headers=headers, media_type="application/json")


def _error_of(reason: Reason, detail: str) -> ImageError | NotFoundError:
    return NotFoundError(detail) if reason is Reason.NOT_FOUND else ImageError(reason, detail)
