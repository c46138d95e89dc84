"""The bodies of persons on the wire."""

from typing import Annotated

from pydantic import BaseModel, Field

from pipeline.api.bodies import EXAMPLE_ID, Strict
from pipeline.service.associations import FaceRefusal
from pipeline.types import MAX_FACES_OF_PERSON, PersonState

FaceIds = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(
        min_length=1,
        max_length=MAX_FACES_OF_PERSON,
        description="Ids of faces, as hits and images have them",
        examples=[[f"{EXAMPLE_ID}:00"]],
    ),
]


class PersonBody(BaseModel):
    id: Annotated[str, Field(examples=["employee-17"])]
    state: Annotated[PersonState, Field(description="`active` with a face, `created` without one")]
    faces: Annotated[list[str], Field(description="Ids of the faces that are the person's")]
    created_at: str


class Persons(BaseModel):
    persons: list[PersonBody]
    next_token: Annotated[str | None, Field(description="For the next page. Null on the last one")]


class FacesToAdd(Strict):
    faces: FaceIds
    min_score: Annotated[
        float | None,
        Field(
            ge=-1,
            le=1,
            description="Cosine to the mean of the faces that the person has. Left out, it is the one of "
            "similarity 75, by PICTOR_CALIBRATION where there is one",
        ),
    ] = None


class FacesToRemove(Strict):
    faces: FaceIds


class RefusedFaceBody(BaseModel):
    face: str
    reason: FaceRefusal
    person: Annotated[str | None, Field(description="Whose face it is")] = None
    score: Annotated[
        float | None, Field(description="Cosine to the mean of the faces that the person has")
    ] = None


class FacesChangedBody(BaseModel):
    """What was so before is in neither list."""

    person: PersonBody
    changed: list[str]
    refused: list[RefusedFaceBody]
