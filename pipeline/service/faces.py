"""The faces of a picture, and whether two pictures show one person.

Finding faces tells nothing of who they are. Comparing does, so it passes the policy of a collection and is
recorded like a search of it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArgumentError, ImageError, TargetError
from pipeline.ports import ImageLimits
from pipeline.ports.image_rows import MAX_VIEWS
from pipeline.ports.model_binding import find_collection
from pipeline.search.example import Example, Examples
from pipeline.search.examples import read_examples
from pipeline.search.picture_examples import find_views_of
from pipeline.search.query import Bytes
from pipeline.search.ranking import to_score
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.probes import probe_of, turn_of
from pipeline.service.search import SearchPorts, sources_of
from pipeline.service.search_records import Found, recorded
from pipeline.service.search_terms import check_floor, terms_of
from pipeline.service.search_values import SearchAnswer, SearchRequest, Terms
from pipeline.types import AuditReceipt, Box, CollectionRef, Face, Prepared, Reason, SearchHit


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFaces:
    """The size of the upright picture, px, and its faces, the largest first."""

    width: int
    height: int
    faces: tuple[tuple[Box, Face], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """`probe` is the face of the first picture. `matches` are of the second one, the most similar first.

    The scores of faces that are `unmatched` are under the least one, and are not told. `others` has what is
    known of each face of the second picture.
    """

    probe: Example
    others: Mapping[Box, Example]
    matches: tuple[tuple[Box, float], ...]  # with the cosine of each
    unmatched: tuple[Box, ...]
    receipt: AuditReceipt | None
    to_verify: int

    @property
    def face(self) -> Box:
        return _box_of(self.probe)


def detect_faces(
    picture: Bytes, collection: str, ports: SearchPorts, limits: ImageLimits, caller: Caller
) -> FoundFaces:
    """By the finder of the collection's model. Nobody is looked for, and nothing is kept.

    Raises:
        ArgumentError: the collection is not one of faces.
        NotFoundError: there is no such collection.
        DeniedError: the caller may not search this collection.
        ImageError: the picture cannot be read.
    """
    target = permitted_target(collection, Permission.SEARCH, ports, caller)
    found = find_views_of(picture, sources_of(target, ports), limits)
    return FoundFaces(width=found.width, height=found.height, faces=tuple(_faces_of(found)))


def _faces_of(found: Prepared) -> list[tuple[Box, Face]]:
    return [(view.box, view.face) for view in found.views if view.box is not None and view.face is not None]


def compare_faces(
    first: Bytes,
    second: Bytes,
    request: SearchRequest,
    ports: SearchPorts,
    limits: ImageLimits,
    caller: Caller,
) -> Comparison:
    """The largest face of one picture with all faces of another, on the terms of a search of the collection.

    Args:
        first: its `box` chooses another face than the largest.

    Raises:
        ArgumentError: the collection is not one of faces, or a picture shows none.
        NotFoundError: there is no such collection.
        DeniedError, PolicyError: it is not allowed. The refusal is recorded.
        ImageError: a picture cannot be read.
        AuditError: it could not be recorded. Nothing is told.
    """
    terms = terms_of([first], _within_policy(request, ports), caller, ports.answers_to)
    target = target_of_faces(request.collection, ports)
    check_floor(target, terms, ports.answers_to)
    examples = read_examples([first, second], target, sources_of(target, ports), limits)
    (probe, *_), others = (
        _checked(found, name) for found, name in zip(examples, ("first", "second"), strict=True)
    )
    scores = _scores(probe, others)
    least = -1.0 if terms.request.min_score is None else terms.request.min_score
    matched = [number for number in np.argsort(-scores, kind="stable").tolist() if scores[number] >= least]
    matched = matched[: request.k]
    hits = [_hit_of(others[number], float(scores[number]), second, number) for number in matched]
    found = _found(first, second, probe, hits, target, terms)
    (answer,) = recorded([[found]], [first], terms, ports.answers_to, ports.probes)
    return Comparison(
        probe=probe,
        others={_box_of(other): other for other in others},
        matches=tuple((_box_of(others[number]), float(scores[number])) for number in matched),
        unmatched=tuple(_box_of(other) for number, other in enumerate(others) if number not in matched),
        receipt=answer.receipt,
        to_verify=answer.to_verify,
    )


def _within_policy(request: SearchRequest, ports: SearchPorts) -> SearchRequest:
    """With as many matches as there can be, or as the policy allows."""
    version = ports.answers_to.policy_of(request.collection)
    return replace(request, k=min(MAX_VIEWS, version.policy.max_k or MAX_VIEWS) if version else MAX_VIEWS)


def permitted_target(
    collection: str, permission: Permission, ports: SearchPorts, caller: Caller
) -> CollectionRef:
    """A collection of faces, for whoever may do this with it.

    Raises:
        DeniedError: the caller may not, or not with this collection.
        NotFoundError, ArgumentError: there is no such collection, or it is not one of faces.
    """
    require(caller, permission)
    require_names(caller, collection=collection)
    return target_of_faces(collection, ports)


def target_of_faces(collection: str, ports: SearchPorts) -> CollectionRef:
    try:
        target = ports.index.live(collection)
    except TargetError:
        find_collection(collection, ports.index)  # raises, and names those that are there
        raise
    if ports.models.finding(target) is None:
        raise ArgumentError(f"collection {collection!r} is of whole images; name one of faces")
    return target


def _checked(examples: Examples, name: str) -> Examples:
    """Raises ArgumentError, ImageError: the picture of this name shows no face, or cannot be read."""
    first = examples[0]
    if first.vector is not None:
        return examples
    detail = f"{name} picture: {first.detail}"
    if first.code in tuple(Reason):
        raise ImageError(Reason(first.code), detail)
    raise ArgumentError(detail)


def _scores(probe: Example, others: Sequence[Example]) -> NDArray[np.float64]:
    """[N]: the cosine of each."""
    assert probe.vector is not None, "it was checked"
    vectors = [other.vector for other in others if other.vector is not None]
    return np.array([to_score(cosine) for cosine in np.stack(vectors) @ probe.vector])


def _box_of(example: Example) -> Box:
    assert example.face is not None, "pictures of this collection's model show faces"
    return example.face.box


def _hit_of(other: Example, score: float, second: Bytes, number: int) -> SearchHit:
    """For the record. The picture is nowhere, so its face is named by its content, as ids of rows look."""
    assert other.face is not None
    return SearchHit(
        id=f"{hashlib.sha256(second.body).hexdigest()[:32]}:{number:02}",
        bucket="",
        key="",
        etag="",
        score=score,
        width=other.face.width,
        height=other.face.height,
        size_bytes=len(second.body),
        indexed_at=datetime.now(UTC),
    )


def _found(
    first: Bytes,
    second: Bytes,
    probe: Example,
    hits: Sequence[SearchHit],
    target: CollectionRef,
    terms: Terms,
) -> Found:
    answer = SearchAnswer(
        query=first.text,
        target=target,
        hits=tuple(hits),
        to_verify=terms.policy.verifications if terms.policy else 0,
        face=probe.face,
    )
    details = {**turn_of(probe), "compared_with": hashlib.sha256(second.body).hexdigest()}
    return Found(query=first, probe=probe_of(first, example=probe), answer=answer, details=details)
