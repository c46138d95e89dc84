"""The bodies of faces in pictures on the wire."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from pipeline.api.bodies import BoxBody, Inclusion, Stated, Strict


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
