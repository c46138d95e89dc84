"""The bodies of jobs on the wire."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.api.bodies import MAX_TEXT_CHARS, Strict
from pipeline.api.collection_bodies import MODEL_ADDRESS, NAMES_OF_MODELS


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


class Failures(BaseModel):
    failures: list[FailureBody]
    next_token: str | None = None


class Retried(BaseModel):
    job: JobBody
    retried: Annotated[int, Field(description="Objects that are tried again")]
