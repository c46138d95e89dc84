"""What requests may say, with the bounds and defaults of the API's model.

An unknown member is refused: a search that leaves out what it was told would answer another question.
"""

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Request
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from pipeline.api.aws.errors import AwsError

MAX_BYTES = 5 * 2**20  # of a picture in the request
MAX_OBJECT_BYTES = 15 * 2**20
MAX_PAGE = 4096
MAX_FAULTS_SHOWN = 5

CollectionName = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9_.\-]+$")]
FaceUuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Quality = Literal["NONE", "AUTO", "LOW", "MEDIUM", "HIGH"]
Percent = Annotated[float, Field(ge=0, le=100)]
Page = Annotated[int, Field(ge=0, le=MAX_PAGE)]
Token = Annotated[str, Field(max_length=255)]
Most = Annotated[int, Field(ge=1, le=4096)]
UserName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9_.\-:]+$")]
MostUsers = Annotated[int, Field(ge=1, le=500)]
Arn = Annotated[str, Field(min_length=20, max_length=2048)]
TagKey = Annotated[str, Field(min_length=1, max_length=128)]
TagMap = Annotated[dict[TagKey, Annotated[str, Field(max_length=256)]], Field(max_length=200)]
Names = Annotated[list[Annotated[str, Field(max_length=40)]], Field(max_length=20)]

M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ObjectMember(_Strict):
    Bucket: Annotated[str, Field(min_length=3, max_length=255)]
    Name: Annotated[str, Field(min_length=1, max_length=1024)]
    Version: Annotated[str | None, Field(min_length=1, max_length=1024)] = None


class Picture(_Strict):
    Bytes: Base64Bytes | None = None
    S3Object: ObjectMember | None = None


class OfCollection(_Strict):
    CollectionId: CollectionName


class CreateCollection(OfCollection):
    Tags: TagMap = {}


class ListCollections(_Strict):
    NextToken: Token | None = None
    MaxResults: Page = 1000


class IndexFaces(OfCollection):
    Image: Picture
    ExternalImageId: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9_.\-:]+$")] = ""
    DetectionAttributes: Names = []
    MaxFaces: Annotated[int, Field(ge=1)] = 100
    QualityFilter: Quality = "AUTO"


class ListFaces(OfCollection):
    UserId: UserName | None = None
    NextToken: Token | None = None
    MaxResults: Page = 1000
    FaceIds: Annotated[list[FaceUuid], Field(min_length=1, max_length=4096)] | None = None


class DeleteFaces(OfCollection):
    FaceIds: Annotated[list[FaceUuid], Field(min_length=1, max_length=4096)]


class SearchFaces(OfCollection):
    FaceId: FaceUuid
    MaxFaces: Most | None = None
    FaceMatchThreshold: Percent | None = None


class SearchFacesByImage(OfCollection):
    Image: Picture
    MaxFaces: Most | None = None
    FaceMatchThreshold: Percent | None = None
    QualityFilter: Quality = "NONE"
    Attributes: Names = []  # amplify-js sends it, and the API's model has none


class DetectFaces(_Strict):
    Image: Picture
    Attributes: Names = []


class CompareFaces(_Strict):
    SourceImage: Picture
    TargetImage: Picture
    SimilarityThreshold: Percent | None = None
    QualityFilter: Quality = "NONE"


class WithToken(OfCollection):
    ClientRequestToken: Annotated[
        str | None, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9\-_]+$")
    ] = None


class OfUser(WithToken):
    UserId: UserName


class CreateUser(OfUser):
    pass


class DeleteUser(OfUser):
    pass


class ListUsers(OfCollection):
    NextToken: Token | None = None
    MaxResults: MostUsers = 500


class FacesOfUser(OfUser):
    FaceIds: Annotated[list[FaceUuid], Field(min_length=1, max_length=100)]


class AssociateFaces(FacesOfUser):
    UserMatchThreshold: Percent = 75


class DisassociateFaces(FacesOfUser):
    pass


class SearchUsers(OfCollection):
    UserId: UserName | None = None
    FaceId: FaceUuid | None = None
    MaxUsers: MostUsers | None = None
    UserMatchThreshold: Percent | None = None


class SearchUsersByImage(OfCollection):
    Image: Picture
    MaxUsers: MostUsers | None = None
    UserMatchThreshold: Percent | None = None
    QualityFilter: Quality = "NONE"


class OfResource(_Strict):
    ResourceArn: Arn


class TagResource(OfResource):
    Tags: TagMap


class UntagResource(OfResource):
    TagKeys: Annotated[list[TagKey], Field(max_length=200)]


class ListTagsForResource(OfResource):
    pass


def members(kind: type[M]) -> Any:
    """A dependency that reads the body of a request as this."""

    async def read(request: Request) -> M:
        return read_members(kind, await request.body())

    reader: Callable[..., Any] = read
    return Depends(reader)


def read_members(kind: type[M], body: bytes) -> M:
    """Raises AwsError: no JSON object, or a member that is unknown or out of its range. Each is named."""
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise AwsError("SerializationException", "the body is not JSON") from None
    if not isinstance(found, dict):
        raise AwsError("SerializationException", "the body is not a JSON object")
    try:
        # As JSON text: bytes are base64 there, and no number becomes a text. Null is a member left out.
        return kind.model_validate({name: value for name, value in found.items() if value is not None})
    except ValidationError as err:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in err.errors()]
        raise AwsError("InvalidParameterException", "; ".join(faults[:MAX_FAULTS_SHOWN])) from None
