"""What the service answers, as values. Fields that a newer service adds are in `raw` alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from typing import Any, Self, TypeVar

from pipeline.client.calls import read_json
from pipeline.errors import MessageError

A = TypeVar("A", bound="AnswerObject")

OVER = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerObject:
    """Made of the JSON object that has the same fields. `raw` is that object, with all that it has."""

    raw: Mapping[str, object] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, found: object) -> Self:
        """Raises MessageError: no object, or a field is missing."""
        return cls(**_known_fields(cls, found))


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionEmbedding(AnswerObject):
    """One of several that each image of a collection has. `main` is the first."""

    name: str
    model: str
    fingerprint: str
    dim: int
    reads_text: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8Recall(AnswerObject):
    """How near a model in int8 is to float32: recall@10, 0..1, on a sample of `images`."""

    recall_at_10: float
    images: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection(AnswerObject):
    """`int8` is there in int8, and `embeddings` where each image has several."""

    name: str
    rows: int
    model: str
    model_source: str
    fingerprint: str
    dim: int
    vector_type: str
    precision: str
    int8: Int8Recall | None = None
    embeddings: tuple[CollectionEmbedding, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation(AnswerObject):
    """The vectors of one model in a collection. The one that is `live` answers searches."""

    fingerprint: str
    model: str
    rows: int
    live: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Job(AnswerObject):
    """`scanned = indexed + unchanged + failed + pending`. Times are ISO 8601 in UTC.

    `faces_found` are in the images that were new or changed, and `without_faces` counts those without one.
    `stage_seconds` and `bottleneck` are there when the job was asked for alone. `resumed` is there when it
    was submitted: an unfinished job of the same source goes on.
    """

    job_id: str
    state: str
    driver: str
    source: str
    collection: str
    model: str
    scanned: int
    indexed: int
    unchanged: int
    failed: int
    pending: int
    ignored: int
    removed: int
    planned: bool
    error: str
    created_at: str
    finished_at: str | None = None
    pruned_at: str | None = None
    faces_found: int = 0
    without_faces: int = 0
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    bottleneck: str = ""
    resumed: bool = False

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def created(self) -> datetime:
        return datetime.fromisoformat(self.created_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate(AnswerObject):
    """What a submission would take. `complete` is false when the listing is longer than what was read of it.

    `seconds` and `objects_per_second` are None where no earlier job of the model was measured.
    """

    source: str
    collection: str
    model: str
    complete: bool
    listed: int
    ignored: int
    unchanged: int
    objects: int
    size_bytes: int
    vector_bytes: int | None
    objects_per_second: float | None
    measured_in: str | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptedImage(AnswerObject):
    """`id` is that of the image once its job is completed."""

    id: str
    bucket: str
    key: str
    job: Job


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure(AnswerObject):
    """`reason` is one of docs/reference/reasons.md."""

    key: str
    stage: str
    reason: str
    detail: str
    bucket: str
    etag: str
    size_bytes: int
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Image(AnswerObject):
    id: str
    bucket: str
    key: str
    etag: str
    size_bytes: int
    width: int
    height: int
    indexed_at: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit(AnswerObject):
    """`score` is a cosine, -1..1. `width` and `height` are those of the upright original, px.

    `vector` is [D] where it was asked for, and None if the row has changed meanwhile. `parts` has the
    cosine with each part of a query that has several, under "text", "not" and "picture". `person` is whose
    face it is where persons were searched for, and the score is then that of the person.
    """

    id: str
    bucket: str
    key: str
    score: float
    width: int
    height: int
    size_bytes: int
    etag: str
    indexed_at: str
    metadata: Mapping[str, str]
    vector: Sequence[float] | None = None
    person: str = ""
    parts: Mapping[str, Sequence[float] | float] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer(AnswerObject):
    """The hits of one query, nearest first. `error` and `code` say why a query of a batch has none.

    `receipt` is the record of this search, and `recording` is "off" where there is none. `inclusion` has its
    `index`, `commitment` and `proof` in the log. So many persons as `to_verify` must look at each hit before
    it counts.
    """

    query: str
    hits: tuple[Hit, ...]
    error: str = ""
    code: str = ""
    receipt: str = ""
    inclusion: Mapping[str, object] = field(default_factory=dict)
    recording: str = ""
    to_verify: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult(AnswerObject):
    """Answers in the order of the queries. `fingerprint` is of the model whose vectors were searched.

    `embedding` is which embedding of each image that was.
    """

    collection: str
    model: str
    fingerprint: str
    seconds: float
    answers: tuple[Answer, ...]
    generation: str = ""
    embedding: str = "main"
    stage_seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def hits(self) -> tuple[Hit, ...]:
        """Of the only query, or of the first one."""
        return self.answers[0].hits if self.answers else ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Retried(AnswerObject):
    """`retried` objects are tried again."""

    job: Job
    retried: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry(AnswerObject):
    """An act of the log. `record` is None once it was erased."""

    index: int
    record_id: str
    erased: bool
    record: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Match(AnswerObject):
    """A hit that persons verify. Only one whose `state` is "confirmed" counts. `score` is the cosine."""

    id: str
    receipt: str
    rank: int
    image_id: str
    score: float
    collection: str
    state: str
    closed: bool
    persons_needed: int
    searched_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownMatch(Match):
    """With what you decided in `own`, and what everybody decided once it is closed."""

    purpose: str = ""
    case: str = ""
    probe_sha256: str = ""
    probe_source: str = ""
    own: Mapping[str, Any] | None = None
    decisions: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchState(AnswerObject):
    """The matches of one search."""

    receipt: str
    collection: str
    matches: tuple[Match, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding(AnswerObject):
    """What a reviewer may want to look at; most of it has a good reason. `entries` are places in the log."""

    look_at: str
    person: str
    why: str
    count: int
    entries: Sequence[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Review(AnswerObject):
    """Of the `searched` entries of a period."""

    tree_size: int
    searched: int
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding(AnswerObject):
    index: int
    embedding: Sequence[float]  # [D], of unit length


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFace(AnswerObject):
    """See docs/reference/faces.md. `box` has left, top, width and height, px of the upright picture."""

    box: Mapping[str, int]
    points: Sequence[Sequence[float]]
    confidence: float
    eyes_px: float
    sharpness: float
    brightness: float
    yaw: float
    pitch: float
    roll: float
    turn: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFaces(AnswerObject):
    """The size of the upright picture, px, and its faces, the largest first."""

    width: int
    height: int
    faces: tuple[FoundFace, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceMatch(AnswerObject):
    """A face of the second picture. `score` is the cosine."""

    box: Mapping[str, int]
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison(AnswerObject):
    """`face` is that of the first picture. The scores of `unmatched` faces are not told.

    `receipt` is the id of the record, and `inclusion` the proof that it is in the log.
    """

    face: Mapping[str, int]
    matches: tuple[FaceMatch, ...]
    unmatched: Sequence[Mapping[str, int]]
    receipt: str = ""
    inclusion: Mapping[str, Any] | None = None
    to_verify: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Key(AnswerObject):
    """A key of the service. `collections` and `buckets` are globs, times are ISO 8601 in UTC."""

    id: str
    name: str
    tenant: str
    roles: Sequence[str]
    collections: Sequence[str]
    buckets: Sequence[str]
    acts_for_others: bool
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    replaces: str
    justification: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewSecret(Key):
    """`secret` is shown this once, and by no `repr`."""

    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyVersion(AnswerObject):
    """`state` is proposed, in_force, replaced or refused. `loosens` says why a version is proposed only."""

    collection: str
    version: int
    state: str
    replaces: int
    loosens: Sequence[str]
    proposed_by: str
    proposed_at: str
    decided_by: str
    decided_at: str | None
    policy: Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseState(AnswerObject):
    case: str
    granted: bool
    started_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Person(AnswerObject):
    """`state` is "active" with a face and "created" without one. `faces` are ids."""

    id: str
    state: str
    faces: Sequence[str]
    created_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedFace(AnswerObject):
    """`reason` is face_not_found, associated_to_another_person or low_match. `person` is whose face it is."""

    face: str
    reason: str
    person: str = ""
    score: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FacesChanged(AnswerObject):
    """The person as they are now, the ids of the faces that changed hands, and those that did not."""

    person: Person
    changed: Sequence[str]
    refused: tuple[RefusedFace, ...]


_NESTED: Mapping[str, type[AnswerObject]] = {
    "hits": Hit,
    "answers": Answer,
    "embeddings": CollectionEmbedding,
    "int8": Int8Recall,
    "job": Job,
    "faces": FoundFace,
    "findings": Finding,
    "matches": Match,
}
_NESTED_IN: Mapping[type[AnswerObject], Mapping[str, type[AnswerObject]]] = {
    Comparison: {"matches": FaceMatch},
    Person: {},
    FacesChanged: {"person": Person, "refused": RefusedFace},
}


def reader_of(kind: type[A]) -> Callable[[bytes], A]:
    """Reads a body that is one such object."""
    return lambda body: kind.of(read_json(body))


def read_all(kind: type[A], found: object) -> tuple[A, ...]:
    """Raises MessageError: no list of such objects."""
    if not isinstance(found, list):
        raise MessageError(f"a list is expected in the answer, found {type(found).__name__}")
    return tuple(kind.of(each) for each in found)


def _known_fields(kind: type[AnswerObject], found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise MessageError(f"an object is expected in the answer, found {type(found).__name__}")
    nested = _NESTED_IN.get(kind, _NESTED)
    known: dict[str, Any] = {"raw": found}
    for each in fields(kind):
        if each.name in found and each.name != "raw":
            known[each.name] = _value_of(nested.get(each.name), found[each.name])
        elif each.default is MISSING and each.default_factory is MISSING:
            raise MessageError(
                f"the answer has no field {each.name!r}; is the service older than this client?"
            )
    return known


def _value_of(kind: type[AnswerObject] | None, value: object) -> object:
    if kind is None:
        return value
    return read_all(kind, value) if isinstance(value, list) else kind.of(value)
