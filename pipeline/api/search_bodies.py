"""The bodies of searches on the wire, with examples. Commands and tasks answer with the same fields."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from pipeline.api.bodies import (
    EXAMPLE_ID,
    MAX_QUERIES,
    MAX_TEXT_CHARS,
    BoxBody,
    Inclusion,
    ObjectPlace,
    Stated,
    Strict,
)
from pipeline.ports import MAX_HITS
from pipeline.service.persons import MAX_PERSON_ID_CHARS
from pipeline.service.query_words import MAX_PROMPT_CHARS, MAX_PROMPTS, MAX_WEIGHT, WordsOfQuery

MAX_HITS_OVER_HTTP = 1000  # of one query: an answer of some hundred kilobytes
MAX_VECTORS = 1000  # in one answer: of 512 numbers they are 10 MB
MAX_WHERE_CHARS = 8192  # in an address: most servers and proxies take no longer line
EXAMPLES_OF_QUERY = ("id", "object", "image", "vector", "person")
GROUP_BY = (
    "`image`: only the best view of each image. `person`: each person of a collection of faces once, by the "
    "mean of the faces that are theirs, with the one that is nearest"
)

EMBEDDING = (
    "Which embedding of each image is asked, where the collection has several: `copies`, for example. `main` "
    "is the first, and the default"
)
MAX_EMBEDDING_CHARS = 40


def _texts(texts: str | list[str] | None) -> list[str]:
    return [texts] if isinstance(texts, str) else texts or []


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


class WeightsBody(Strict):
    """How much each part of a query counts. Only their ratio matters."""

    text: Annotated[float | None, Field(gt=0, le=MAX_WEIGHT, description="1 where it is left out")] = None
    unwanted: Annotated[
        float | None, Field(alias="not", gt=0, le=MAX_WEIGHT, description="0.5 where it is left out")
    ] = None
    picture: Annotated[float | None, Field(gt=0, le=MAX_WEIGHT, description="1 where it is left out")] = None


Prompts = Annotated[
    str | Annotated[list[str], Field(fail_fast=True)] | None,
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
    vector: Annotated[list[float] | None, Field(max_length=32_768, fail_fast=True)] = None
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


class SearchOptions(Strict):
    justification: Stated = Stated()
    k: Annotated[
        int, Field(ge=1, le=min(MAX_HITS, MAX_HITS_OVER_HTTP), description="Hits for each query")
    ] = 10
    min_score: Annotated[
        float | None, Field(ge=-1, le=1, description="Cosine. Hits below it are left out", examples=[0.5])
    ] = None
    group_by: Annotated[Literal["", "image", "person"], Field(description=GROUP_BY)] = ""
    embedding: Annotated[str, Field(max_length=MAX_EMBEDDING_CHARS, description=EMBEDDING)] = ""
    filter: Annotated[
        Filter, Field(default_factory=Filter, json_schema_extra={"default": Filter().model_dump()})
    ]  # made and not copied, which takes as long as the rest of a body
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

    # Whoever writes the answer: `not` is no name in Python.
    model_config = ConfigDict(serialize_by_alias=True)

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


class Answer(BaseModel):
    """`error` and `code` are there when the query could not be read."""

    query: str
    hits: list[Hit]
    embedding: Annotated[str | None, Field(description="That was searched, where it is not `main`")] = None
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
    embedding: Annotated[str, Field(description="That was searched. `main` is the first")]
    model: Annotated[str, Field(description="Whose vectors were searched")]
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
