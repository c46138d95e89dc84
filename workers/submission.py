"""The public, versioned arguments of each task, as other services send them, checked.

app.send_task("pictor.ingest", kwargs={"v": 1, "source": "s3://shop/products/"}, …)
app.send_task("pictor.delete", kwargs={"v": 1, "bucket": "shop", "keys": ["a.jpg"]}, …)
app.send_task("pictor.search", kwargs={"v": 1, "query": "s3://shop/a.jpg", "k": 10}, …)
app.send_task("pictor.job", kwargs={"v": 1, "job_id": "…"}, …)

docs/reference/tasks.md is the page for their authors.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipeline.errors import ArgumentError, MessageError
from pipeline.ingest.globs import MAX_PATTERNS, what_is_wrong
from pipeline.location import split_s3_url
from pipeline.names import check_bucket_or_folder, check_key, check_prefix
from pipeline.search.query import Stored
from pipeline.service.arguments import (
    MAX_JUSTIFICATION_CHARS,
    MAX_PERSON_CHARS,
    read_embedding,
    read_justification,
    read_person,
)
from pipeline.service.conditions import read_condition
from pipeline.service.query_words import WordsOfQuery, read_weights, read_words
from workers.broker.meant_at import MAX_TIME_S

T = TypeVar("T")

VERSION = 1
MAX_KEYS = 10_000  # of one pictor.delete
MAX_SHOWN_ERRORS = 5  # of 10,000 keys, all could be wrong
JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # no database keeps NUL, no encoding half of a surrogate pair


def _check_storable(text: str) -> str:
    if _UNSTORABLE.search(text):
        raise ValueError("holds a character that cannot be stored")
    return text


def _check_globs(patterns: list[str]) -> list[str]:
    if wrong := what_is_wrong(patterns):
        raise ValueError(wrong)
    return patterns


def _valid(check: Callable[[T], object], value: T) -> T:
    """A rule of ours, as pydantic has it."""
    try:
        check(value)
    except ArgumentError as err:
        raise ValueError(str(err)) from err
    return value


def _checked_by(check: Callable[[T], object]) -> AfterValidator:
    return AfterValidator(lambda value: _valid(check, value))


_STORABLE = AfterValidator(_check_storable)
Text = Annotated[str, Field(max_length=1024), _STORABLE]
Key = Annotated[str, Field(min_length=1, max_length=1024), _STORABLE]
Globs = Annotated[list[Key], Field(max_length=MAX_PATTERNS), AfterValidator(_check_globs)]
Stated = Annotated[
    str, Field(max_length=MAX_JUSTIFICATION_CHARS), _checked_by(lambda text: read_justification(case=text))
]
Bucket = Annotated[str, Field(min_length=1, max_length=255), _STORABLE, _checked_by(check_bucket_or_folder)]
JobId = Annotated[str, Field(pattern=rf"^{JOB_ID.pattern}$")]
# Only its size: a name that breaks the rules for names fails a job that can be looked up by its id.
CollectionName = Annotated[str, Field(min_length=1, max_length=255), _STORABLE]


class Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    v: Literal[1]


class IngestArguments(Arguments):
    """`job_id`, chosen by the caller, makes a submission that is sent twice one job."""

    source: Annotated[
        str, Field(pattern=r"(?s)^s3://[^/]+(/.*)?$", max_length=2048), _STORABLE, _checked_by(split_s3_url)
    ]
    collection: CollectionName | None = None
    job_id: JobId | None = None
    include: Globs = []
    exclude: Globs = []
    batch_items: Annotated[int, Field(ge=1, le=1000)] | None = None
    keep_missing: bool = False
    max_delete_share: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None  # JSON has 1 for 1.0
    retry_failed: bool = False
    generation: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None = None  # not the live one


class DeleteArguments(Arguments):
    """`meant_at` is in seconds since 1970 UTC: what was planned later is not deleted."""

    bucket: Bucket
    keys: Annotated[list[Key], Field(min_length=1, max_length=MAX_KEYS)]
    collection: CollectionName | None = None
    meant_at: Annotated[float, Field(ge=0, le=MAX_TIME_S, strict=False)] | None = None

    @field_validator("keys")
    @classmethod
    def _check_keys(cls, keys: list[str], info: ValidationInfo) -> list[str]:
        if not info.data.get("bucket", "/").startswith("/"):  # a path in a folder may be longer
            for key in keys:
                _valid(check_key, key)
        return keys


class SearchArguments(Arguments):
    """`query` is an s3:// object or a stored image id. It can be left out where `text` is given."""

    query: Annotated[str, Field(min_length=1, max_length=2048), _STORABLE] | None = None
    text: list[str] = []
    unwanted: Annotated[list[str], Field(alias="not")] = []
    weights: Annotated[dict[str, float], _checked_by(read_weights)] = {}
    collection: CollectionName | None = None
    k: Annotated[int, Field(ge=1, le=1000)] = 10
    min_score: Annotated[float, Field(ge=-1, le=1)] | None = None
    bucket: Bucket | Literal[""] = ""
    prefix: Annotated[Text, _checked_by(check_prefix)] = ""
    metadata: Annotated[dict[Text, Text], Field(max_length=100)] = {}
    purpose: Stated = ""
    case: Stated = ""
    offence: Stated = ""
    authorisation: Stated = ""
    authority: Stated = ""
    on_behalf_of: Annotated[str, Field(max_length=MAX_PERSON_CHARS), _checked_by(read_person)] = ""
    embedding: Annotated[str, _checked_by(read_embedding)] = ""
    where: Annotated[dict[str, JsonValue], _checked_by(read_condition)] | None = None

    @model_validator(mode="after")
    def _check_words(self) -> Self:
        picture = None if self.query is None else Stored(text="", id="")  # that there is one, whichever it is
        _valid(lambda words: read_words(picture, **words), self.words)
        return self

    @property
    def words(self) -> WordsOfQuery:
        return {"text": self.text, "unwanted": self.unwanted, "weights": self.weights}


class JobArguments(Arguments):
    job_id: JobId


A = TypeVar("A", bound=Arguments)


def read_arguments(kind: type[A], task: str, arguments: Mapping[str, object]) -> A:
    """Check the arguments of a public task.

    Raises:
        MessageError: names the wrong arguments and the allowed ones. Of values, names alone.
    """
    _check_version(task, arguments)
    try:
        return kind.model_validate(arguments)
    except ValidationError as err:
        errors = [f"{_place(error['loc'])}: {error['msg']}" for error in err.errors()]
        more = f"; and {len(errors) - MAX_SHOWN_ERRORS} more" if len(errors) > MAX_SHOWN_ERRORS else ""
        raise MessageError(f"{task}: {'; '.join(errors[:MAX_SHOWN_ERRORS])}{more}") from None


def _check_version(task: str, arguments: Mapping[str, object]) -> None:
    # First: the arguments of another version would be called wrong one by one.
    version = arguments.get("v")
    if version != VERSION or isinstance(version, bool):  # True is 1 to Python
        given = "no argument v" if version is None else f"version {version!r:.40}"
        raise MessageError(f"{task}: {given}; this worker reads version {VERSION} of the arguments")


def _place(loc: tuple[int | str, ...]) -> str:
    """Where the error is. Names of unknown arguments are the caller's, of whatever length."""
    return ".".join(f"{step:.60}" if isinstance(step, str) else str(step) for step in loc)
