"""The bodies on the wire, with examples. Commands and tasks answer with the same fields."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from pipeline.ports import MAX_HITS
from pipeline.reports.findings import FindingKind
from pipeline.service.arguments import MAX_JUSTIFICATION_CHARS
from pipeline.service.policy_body import PolicyBody
from pipeline.service.query_words import MAX_PROMPT_CHARS, MAX_PROMPTS, MAX_WEIGHT, WordsOfQuery
from pipeline.types import KeyRole

MAX_QUERIES = 100  # of one call
MAX_TEXT_CHARS = 2048  # a key of 1,024 bytes in a URL, and room
MAX_STATED_CHARS = MAX_JUSTIFICATION_CHARS
MAX_HITS_OVER_HTTP = 1000  # of one query: an answer of some hundred kilobytes
MAX_VECTORS = 1000  # in one answer: of 512 numbers they are 10 MB
MAX_WHERE_CHARS = 8192  # in an address: most servers and proxies take no longer line
# No file of this machine: requests name no paths. Names begin with no dot, so none leads out of its folder.
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,95}"
MODEL_ADDRESS = rf"^(builtin|torchvision/\w{{1,64}}|timm/{_NAME}|hf/{_NAME}(/{_NAME})?)?$"
NAMES_OF_MODELS = "builtin, torchvision/NAME, timm/NAME or hf/ORG/NAME"
MAX_PERSON_ID_CHARS = 128
EXAMPLES_OF_QUERY = ("id", "object", "image", "vector", "person")
GROUP_BY = (
    "`image`: only the best view of each image. `person`: each person of a collection of faces once, by the "
    "mean of the faces that are theirs, with the one that is nearest"
)
EXAMPLE_ID = "1c5a3b0f9d2e4c6a8b7d6e5f4a3b2c1d"


class Strict(BaseModel):
    """A field that nobody knows is a mistake, and is said."""

    model_config = ConfigDict(extra="forbid")


def _texts(texts: str | list[str] | None) -> list[str]:
    return [texts] if isinstance(texts, str) else texts or []


class ObjectPlace(Strict):
    """An object of the store."""

    bucket: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS, examples=["shop"])]
    key: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS, examples=["products/1.jpg"])]


class Filter(Strict):
    """All given conditions must hold."""

    bucket: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] = ""
    prefix: Annotated[str, Field(max_length=MAX_TEXT_CHARS, description="Only keys that begin with this")] = (
        ""
    )
    metadata: Annotated[
        dict[str, str], Field(max_length=16, description="Only objects with this user metadata")
    ] = {}

    where: Annotated[
        dict[str, Any] | None,
        WithJsonSchema({"type": "object"}),  # the document of the service has the schema in this place
        Field(description="Only images for which this condition holds"),
    ] = None


class BoxBody(Strict):
    """A part of an upright picture, px."""

    left: Annotated[int, Field(ge=0)]
    top: Annotated[int, Field(ge=0)]
    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]


class WeightsBody(Strict):
    """How much each part of a query counts. Only their ratio matters."""

    text: Annotated[float | None, Field(gt=0, le=MAX_WEIGHT, description="1 where it is left out")] = None
    unwanted: Annotated[
        float | None, Field(alias="not", gt=0, le=MAX_WEIGHT, description="0.5 where it is left out")
    ] = None
    picture: Annotated[float | None, Field(gt=0, le=MAX_WEIGHT, description="1 where it is left out")] = None


Prompts = Annotated[
    str | list[str] | None,
    Field(
        description=f"At most {MAX_PROMPTS} texts of {MAX_PROMPT_CHARS} characters in one query. "
        "The collection's model must read text"
    ),
]


class QueryBody(Strict):
    """An example, words or both: at most one of `id`, `object`, `image`, `vector` and `person`, and words."""

    id: Annotated[str | None, Field(description="Of a stored image", examples=[EXAMPLE_ID])] = None
    object: ObjectPlace | None = None
    image: Annotated[
        str | None, Field(description="The bytes of a picture in base64", examples=["/9j/4AAQSkZJRg…"])
    ] = None
    vector: Annotated[list[float] | None, Field(max_length=32_768)] = None
    person: Annotated[
        str | None,
        Field(max_length=MAX_PERSON_ID_CHARS, description="By the mean of their faces"),
    ] = None
    box: Annotated[
        BoxBody | None, Field(description="The face of a picture that is meant. Without it, each face is")
    ] = None

    text: Annotated[Prompts, Field(examples=["red shoes on snow"])] = None
    unwanted: Annotated[Prompts, Field(alias="not")] = None
    weights: WeightsBody | None = None

    @property
    def words(self) -> WordsOfQuery:
        weights = self.weights.model_dump(by_alias=True, exclude_none=True) if self.weights else {}
        return {"text": _texts(self.text), "unwanted": _texts(self.unwanted), "weights": weights}

    @model_validator(mode="after")
    def _one_example(self) -> Self:
        given = [name for name in EXAMPLES_OF_QUERY if getattr(self, name) is not None]
        has_words = self.text is not None or self.unwanted is not None
        if len(given) > 1 or not (given or has_words):
            found = ", ".join(given) or "none"
            raise ValueError(
                f"exactly one of id, object, image, vector and person is expected, or text, found {found}"
            )
        return self


class Stated(Strict):
    """Why you search. Each field that is empty is taken from its header."""

    purpose: Annotated[str, Field(max_length=MAX_STATED_CHARS, description="A code of the policy")] = ""
    case: Annotated[str, Field(max_length=MAX_STATED_CHARS, description="Reference of the case")] = ""
    offence: Annotated[str, Field(max_length=MAX_STATED_CHARS)] = ""
    authorisation: Annotated[
        str, Field(max_length=MAX_STATED_CHARS, description="Reference of its document")
    ] = ""
    authority: Annotated[str, Field(max_length=MAX_STATED_CHARS, description="Whose document it is")] = ""


class SearchOptions(Strict):
    justification: Stated = Stated()
    k: Annotated[
        int, Field(ge=1, le=min(MAX_HITS, MAX_HITS_OVER_HTTP), description="Hits for each query")
    ] = 10
    min_score: Annotated[
        float | None, Field(ge=-1, le=1, description="Cosine. Hits below it are left out", examples=[0.5])
    ] = None
    group_by: Annotated[Literal["", "image", "person"], Field(description=GROUP_BY)] = ""
    filter: Filter = Filter()
    with_vector: Annotated[
        bool,
        Field(description=f"Also the vector of each hit. At most {MAX_VECTORS} hits can be asked for then"),
    ] = False


class SearchBody(SearchOptions):
    query: QueryBody


class SearchBatchBody(SearchOptions):
    queries: Annotated[list[QueryBody], Field(min_length=1, max_length=MAX_QUERIES)]


class PartScores(BaseModel):
    """The cosine of a hit with each part of its query, in the order of the query."""

    model_config = ConfigDict(
        serialize_by_alias=True
    )  # whoever writes the answer: `not` is no name in Python

    text: list[float] | None = None
    unwanted: Annotated[list[float] | None, Field(alias="not")] = None
    picture: float | None = None


class Hit(BaseModel):
    id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    bucket: str
    key: str
    score: Annotated[float, Field(ge=-1.000001, le=1.000001, description="Cosine")]
    width: Annotated[int, Field(description="Of the upright original, px")]
    height: int
    size_bytes: int
    etag: str
    indexed_at: str
    metadata: dict[str, str]
    person: Annotated[
        str | None,
        Field(description="Whose face it is, with `group_by` person. The score is that of the person"),
    ] = None
    vector: Annotated[
        list[float] | None,
        Field(description="Where it was asked for. Left out if the row has changed meanwhile"),
    ] = None
    parts: Annotated[PartScores | None, Field(description="Where the query has several parts")] = None


class Inclusion(BaseModel):
    """Where the record of an act stands in the log, and the proof of it, to be kept and checked offline."""

    index: Annotated[int, Field(ge=0)]
    commitment: Annotated[str, Field(description="SHA-256 over salt and record, in base64")]
    proof: Annotated[str, Field(description="A .tlog-proof with the salt and a signed checkpoint")]


class LogEntry(BaseModel):
    """Salt and record are null once they were erased."""

    index: Annotated[int, Field(ge=0)]
    record_id: str
    commitment: Annotated[str, Field(description="SHA-256 over salt and record, in base64")]
    salt: Annotated[str | None, Field(description="In base64")]
    record: Annotated[str | None, Field(description="Its JSON text, byte for byte as it was committed to")]


class Answer(BaseModel):
    """`error` and `code` are there when the query could not be read."""

    query: str
    hits: list[Hit]
    receipt: Annotated[str | None, Field(description="Id of the record of this search in the log")] = None
    inclusion: Inclusion | None = None
    recording: Annotated[
        Literal["off"] | None, Field(description="The service records nothing, and so there is no receipt")
    ] = None
    to_verify: Annotated[
        int | None, Field(description="So many persons must look at each hit before it counts")
    ] = None
    face: Annotated[
        BoxBody | None, Field(description="The face of the query's picture that was searched for")
    ] = None
    other_faces: Annotated[
        list["Answer"] | None, Field(description="An answer for each further face of the query's picture")
    ] = None
    error: str | None = None
    code: str | None = None


class SearchAnswerBody(BaseModel):
    collection: str
    model: str
    fingerprint: Annotated[str, Field(description="Of the model whose vectors were searched")]
    generation: Annotated[
        str, Field(description="Of the collection, that was searched", examples=["images__1c5a3b0f"])
    ]
    seconds: Annotated[float, Field(description="That the service worked on it")]
    stage_seconds: Annotated[
        dict[Literal["embed", "search"], float],
        Field(description="Of these, to read and embed the examples, and to search the index"),
    ]
    answers: list[Answer]


class Collection(BaseModel):
    name: Annotated[str, Field(examples=["images"])]
    rows: int
    model: str
    model_source: str
    fingerprint: str
    dim: int
    vector_type: str
    precision: str


class Collections(BaseModel):
    collections: list[Collection]


class Generation(BaseModel):
    fingerprint: Annotated[str, Field(description="Of the model that made the vectors")]
    model: str
    rows: int
    live: Annotated[bool, Field(description="Searches look here")]


class Generations(BaseModel):
    generations: list[Generation]


class NewCollection(Strict):
    name: Annotated[str, Field(max_length=100, examples=["photos"])]
    model: Annotated[str, Field(pattern=MODEL_ADDRESS, description=NAMES_OF_MODELS, examples=["builtin"])] = (
        "builtin"
    )


class NewJob(Strict):
    source: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_TEXT_CHARS,
            description="A folder or s3://bucket/prefix that the service may read",
            examples=["s3://shop/products/"],
        ),
    ]
    collection: Annotated[str, Field(max_length=100)] = ""
    model: Annotated[
        str,
        Field(
            pattern=MODEL_ADDRESS,
            description=f"{NAMES_OF_MODELS}, for a collection that is made with this job. "
            "Left out, it is PICTOR_MODEL of the service",
        ),
    ] = ""
    include: Annotated[list[str], Field(max_length=100)] = []
    exclude: Annotated[list[str], Field(max_length=100)] = []
    keep_missing: bool = False
    max_delete_share: Annotated[float | None, Field(ge=0, le=1)] = None
    retry_failed: bool = False
    batch_items: Annotated[
        int, Field(ge=0, le=1000, description="Objects per batch. 0 means the service's own number")
    ] = 0
    restart: Annotated[
        bool, Field(description="Cancel an unfinished job of the same source, and begin anew")
    ] = False


class EstimateBody(BaseModel):
    """What a submission would take. Counts are of objects, `vector_bytes` of the vectors alone."""

    source: str
    collection: str
    model: str
    complete: Annotated[
        bool, Field(description="The listing was followed to its end. Else the counts are of its first part")
    ]
    listed: int
    ignored: Annotated[int, Field(description="Not chosen by include, exclude or their suffix")]
    unchanged: Annotated[int, Field(description="Indexed already, or known to fail")]
    objects: Annotated[int, Field(description="That the job would read")]
    size_bytes: Annotated[int, Field(description="Of these objects")]
    vector_bytes: Annotated[
        int | None, Field(description="Null for a model with any number of vectors for an image")
    ]
    objects_per_second: Annotated[
        float | None, Field(description="Of the largest of the newest jobs of this model. Null without one")
    ]
    measured_in: Annotated[str | None, Field(description="The job that this was measured in")]
    seconds: Annotated[float | None, Field(description="For these objects, at that pace")]


class JobBody(BaseModel):
    """`scanned = indexed + unchanged + failed + pending`, in every state."""

    job_id: str
    state: Literal["running", "paused", "cancelled", "completed", "failed"]
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
    faces_found: Annotated[
        int, Field(description="In the images that were new or changed. 0 for models of whole images")
    ] = 0
    without_faces: Annotated[int, Field(description="How many of these images show no face")] = 0
    planned: bool
    error: str
    created_at: str
    finished_at: str | None
    pruned_at: str | None = None
    model_config = ConfigDict(extra="allow")


class SubmittedJob(JobBody):
    resumed: Annotated[bool, Field(description="An unfinished job of the same source goes on")] = False


class Jobs(BaseModel):
    jobs: list[JobBody]
    next_token: str | None = None


class FailureBody(BaseModel):
    key: str
    stage: str
    reason: str
    detail: str
    bucket: str
    etag: str
    size_bytes: int
    id: str


class AuditEntryBody(BaseModel):
    """An act. `record` is left out once it was erased."""

    index: Annotated[int, Field(ge=0, description="Its place in the log")]
    record_id: str
    erased: bool
    record: dict[str, Any] | None = None


class AuditEntries(BaseModel):
    entries: list[AuditEntryBody]
    next_token: str | None = None


class AuditFinding(BaseModel):
    """What a reviewer may want to look at. Most of it has a good reason."""

    look_at: FindingKind
    person: Annotated[str, Field(description="Empty where it is about a case")]
    why: str
    count: Annotated[int, Field(ge=1, description="Of its entries")]
    entries: Annotated[list[int], Field(description="Their places in the log, the first 100 of them")]


class AuditReview(BaseModel):
    tree_size: Annotated[int, Field(description="Of the log that was looked through")]
    searched: Annotated[int, Field(description="Entries of the period")]
    findings: list[AuditFinding]


class Failures(BaseModel):
    failures: list[FailureBody]
    next_token: str | None = None


class Retried(BaseModel):
    job: JobBody
    retried: Annotated[int, Field(description="Objects that are tried again")]


class ImageBody(BaseModel):
    id: str
    bucket: str
    key: str
    etag: str
    size_bytes: int
    width: int
    height: int
    indexed_at: str
    metadata: dict[str, str]


Globs = Annotated[list[str], Field(min_length=1, max_length=100, examples=[["*"]])]


class NewKey(Strict):
    name: Annotated[str, Field(min_length=1, max_length=100, examples=["search page of the shop"])]
    roles: Annotated[list[KeyRole], Field(min_length=1, examples=[["searcher"]])]
    collections: Annotated[Globs, Field(description="Globs of the collections that it may reach")] = ["*"]
    buckets: Annotated[Globs, Field(description="Globs of the buckets that it may name")] = ["*"]
    acts_for_others: Annotated[
        bool, Field(description="It may say on whose behalf it asks, with X-Pictor-On-Behalf-Of")
    ] = False
    justification: Annotated[Stated, Field(description="Of its searches that state nothing themselves")] = (
        Stated()
    )
    expires_in_days: Annotated[float | None, Field(gt=0, le=36_500, description="Left out: never")] = None


class Rotation(Strict):
    overlap_hours: Annotated[
        float, Field(ge=0, le=8760, description="How long the former key stays valid")
    ] = 24


class Key(BaseModel):
    id: Annotated[str, Field(examples=["4fTz0QpW9dKe"])]
    name: str
    tenant: str
    roles: list[KeyRole]
    collections: list[str]
    buckets: list[str]
    acts_for_others: bool
    justification: Stated
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: Annotated[str | None, Field(description="To a quarter of an hour")]
    replaces: Annotated[str, Field(description="The id of the key that it was rotated from, or nothing")]


class Keys(BaseModel):
    keys: list[Key]


class NewSecret(Key):
    secret: Annotated[str, Field(description="For `Authorization: Bearer`. It is shown once")]


class NewImage(Strict):
    object: ObjectPlace


class AcceptedImage(BaseModel):
    """`id` is that of the image once its job is completed."""

    id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    bucket: str
    key: str
    job: JobBody


class EmbeddingRequest(Strict):
    """As OpenAI's API has it, with pictures in the place of texts."""

    input: Annotated[
        str | Annotated[list[str], Field(min_length=1, max_length=MAX_QUERIES)],
        Field(
            description="A picture as a data URL or in base64, or several",
            examples=["data:image/jpeg;base64,/9j/4AAQSkZJRg…"],
        ),
    ]
    model: Annotated[
        str, Field(max_length=200, description="The name of a collection's model", examples=["builtin"])
    ]
    encoding_format: Annotated[
        Literal["float", "base64"], Field(description="base64 is of little-endian float32")
    ] = "float"
    dimensions: Annotated[int | None, Field(ge=1, description="Only the model's own number")] = None
    user: Annotated[str, Field(max_length=MAX_TEXT_CHARS, description="Not used")] = ""


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: Annotated[list[float] | str, Field(description="Of unit length")]


class EmbeddingUsage(BaseModel):
    """Pictures have no tokens."""

    prompt_tokens: int = 0
    total_tokens: int = 0


class Embeddings(BaseModel):
    object: Literal["list"] = "list"
    model: str
    data: list[Embedding]
    usage: EmbeddingUsage = EmbeddingUsage()


class PolicyVersionBody(BaseModel):
    """`proposed` waits for an approver who is another person. `loosens` says why."""

    collection: str
    version: int
    state: Literal["proposed", "in_force", "replaced", "refused"]
    replaces: Annotated[int, Field(description="The version in force when this one was proposed, or 0")]
    loosens: list[str]
    proposed_by: str
    proposed_at: str
    decided_by: str
    decided_at: str | None
    policy: PolicyBody


class PolicyVersions(BaseModel):
    versions: list[PolicyVersionBody]


class CaseDecision(Strict):
    """What an authority decided of a case."""

    case: Annotated[str, Field(min_length=1, max_length=MAX_STATED_CHARS, examples=["AB-1234"])]
    granted: bool
    authorisation: Annotated[
        str, Field(min_length=1, max_length=MAX_STATED_CHARS, description="Reference of the decision")
    ]
    authority: Annotated[str, Field(min_length=1, max_length=MAX_STATED_CHARS, examples=["District court"])]


class CaseState(BaseModel):
    case: str
    granted: bool
    started_at: Annotated[str, Field(description="Of the first search for the case, or of this decision")]


class FaceBody(BaseModel):
    """See docs/reference/faces.md."""

    box: BoxBody
    points: Annotated[
        list[tuple[float, float]],
        Field(description="Eyes, tip of the nose, corners of the mouth; the left one in the picture first"),
    ]
    confidence: float
    eyes_px: float
    sharpness: float
    brightness: float
    yaw: float
    pitch: float
    roll: float
    turn: float


class FacesBody(BaseModel):
    width: Annotated[int, Field(description="Of the upright picture, px")]
    height: int
    faces: Annotated[list[FaceBody], Field(description="The largest first")]


class CompareBody(Strict):
    """Two pictures in base64. The largest face of the first one is compared, or that in its `box`."""

    collection: str
    first: Annotated[str, Field(examples=["/9j/4AAQSkZJRg…"])]
    second: str
    box: BoxBody | None = None
    min_score: Annotated[float | None, Field(ge=-1, le=1, description="Cosine")] = None
    justification: Stated = Stated()


class FaceMatchBody(BaseModel):
    box: BoxBody
    score: Annotated[float, Field(ge=-1.000001, le=1.000001, description="Cosine")]


class ComparisonBody(BaseModel):
    face: Annotated[BoxBody, Field(description="Of the first picture, which was compared")]
    matches: Annotated[list[FaceMatchBody], Field(description="In the second picture, most similar first")]
    unmatched: Annotated[list[BoxBody], Field(description="Faces whose score is under the least one")]
    receipt: str | None = None
    inclusion: Inclusion | None = None
    recording: Literal["off"] | None = None
    to_verify: int | None = None


class Live(BaseModel):
    status: Literal["live"] = "live"


class Ready(BaseModel):
    """A part is "ready" or "not_ready". Whoever runs the service reads its fault instead."""

    status: Literal["ready", "not_ready"]
    parts: dict[str, str]


class Problem(BaseModel):
    """RFC 9457."""

    type: Annotated[str, Field(examples=["/problems/not_found"])]
    title: str
    status: int
    detail: str
    code: Annotated[str, Field(examples=["not_found"])]
    request_id: str
    model_config = ConfigDict(extra="allow")


ProblemAnswers = dict[int | str, dict[str, Any]]
