"""The bodies of stored images on the wire."""

from typing import Annotated

from pydantic import BaseModel, Field

from pipeline.api.bodies import EXAMPLE_ID, ObjectPlace, Strict
from pipeline.api.job_bodies import JobBody


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


class NewImage(Strict):
    object: ObjectPlace


class AcceptedImage(BaseModel):
    """`id` is that of the image once its job is completed."""

    id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    bucket: str
    key: str
    job: JobBody
