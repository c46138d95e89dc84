"""What each client is asked to do: every operation that the service has, and every other one of the model."""

import base64
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.model import ListShape, ServiceModel, StructureShape

from benchmarks.rekognition.clients import Client, RefusedError
from tests.unit.aws_client import faults_of

EVERY = {"QualityFilter": "NONE"}
NOBODY = "00000000-0000-0000-0000-000000000001"
USER = "somebody"
UNDER_THE_FLOOR = 80  # policies of faces have 99


@dataclass
class Played:
    """By operation: what went wrong, or nothing. `refused` has those that the service does not offer."""

    client: Client
    model: ServiceModel
    faults: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def ask(self, operation: str, **members: Any) -> dict[str, Any]:
        """The answer, or none where it is an error."""
        faults = self.faults.setdefault(operation, [])
        try:
            answer = self.client.ask(operation, members)
        except RefusedError as err:
            faults.append(str(err))
            return {}
        if self.client.is_raw:
            faults += faults_of(self.model.operation_model(operation).output_shape, answer, operation)
        return answer

    def expect(self, operation: str, what: str, *, holds: bool) -> None:
        if not holds:
            self.faults.setdefault(operation, []).append(f"{what} is expected")

    def expect_error(self, operation: str, code: str, **members: Any) -> None:
        try:
            self.client.ask(operation, members)
            found = "an answer"
        except RefusedError as err:
            found = err.code
        self.expect(operation, f"{code}, found {found},", holds=found == code)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """A folder that the service may read, with a folder for each person, and in it `a.jpg` and `b.jpg`."""

    folder: Path

    def persons(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if (path / "b.jpg").is_file())[:2]

    def given(self, person: str, name: str) -> dict[str, Any]:
        body = (self.folder / person / name).read_bytes()
        return {"Bytes": {"base64": base64.b64encode(body).decode()}}

    def stored(self, person: str, name: str) -> dict[str, Any]:
        return {"S3Object": {"Bucket": str(self.folder), "Name": f"{person}/{name}"}}


def play(client: Client, model: ServiceModel, pictures: Pictures, collection: str) -> Played:
    played, of = Played(client, model), {"CollectionId": collection}
    _make_collections(played, collection)
    face_ids = _index_two_persons(played, pictures, of)
    _list_in_pages(played, face_ids, of)
    _search(played, pictures, face_ids, of)
    _look_and_compare(played, pictures)
    _make_a_user(played, pictures, face_ids, of)
    _tag(played, collection)
    gone = played.ask("DeleteFaces", **of, FaceIds=[face_ids[0], NOBODY])
    played.expect("DeleteFaces", "one of two", holds=gone.get("DeletedFaces") == face_ids[:1])
    played.ask("DeleteCollection", **of)
    played.expect_error("DeleteCollection", "ResourceNotFoundException", **of)
    _ask_for_the_others(played)
    return played


def _make_collections(played: Played, collection: str) -> None:
    both = {collection, f"{collection}-2"}
    for name in sorted(both):
        played.ask("CreateCollection", CollectionId=name)
    played.expect_error("CreateCollection", "ResourceAlreadyExistsException", CollectionId=collection)
    played.ask("DescribeCollection", CollectionId=collection)
    page = played.ask("ListCollections", MaxResults=1)
    names = list(page.get("CollectionIds", []))
    while token := page.get("NextToken"):
        page = played.ask("ListCollections", MaxResults=1, NextToken=token)
        names += page.get("CollectionIds", [])
    played.expect("ListCollections", "both, page by page,", holds=both <= set(names))
    played.ask("DeleteCollection", CollectionId=f"{collection}-2")


def _index_two_persons(played: Played, pictures: Pictures, of: dict[str, Any]) -> list[str]:
    """The id of a face of each."""
    one, other = pictures.persons()
    first = {"Image": pictures.given(one, "a.jpg"), "ExternalImageId": one} | EVERY
    second = {"Image": pictures.stored(other, "a.jpg"), "DetectionAttributes": ["DEFAULT"], "MaxFaces": 1}
    indexed = played.ask("IndexFaces", **of, **first)
    again = played.ask("IndexFaces", **of, **first)
    played.expect("IndexFaces", "the same once more", holds=_records(again) == _records(indexed))
    face_ids = _records(indexed) + _records(played.ask("IndexFaces", **of, **second))
    played.expect("IndexFaces", "a face of each", holds=len(face_ids) == 2)
    return face_ids


def _list_in_pages(played: Played, face_ids: list[str], of: dict[str, Any]) -> None:
    page = played.ask("ListFaces", **of, MaxResults=1)
    rest = played.ask("ListFaces", **of, MaxResults=1, NextToken=page.get("NextToken", ""))
    listed = [face["FaceId"] for each in (page, rest) for face in each.get("Faces", [])]
    played.expect("ListFaces", "one on each page", holds=sorted(listed) == sorted(face_ids))


def _search(played: Played, pictures: Pictures, face_ids: list[str], of: dict[str, Any]) -> None:
    person = pictures.persons()[0]
    for image in (pictures.given(person, "b.jpg"), pictures.stored(person, "b.jpg")):
        found = played.ask("SearchFacesByImage", **of, Image=image, MaxFaces=1)
        played.expect("SearchFacesByImage", "the person", holds=_matches(found) == face_ids[:1])
    low = {"Image": image, "FaceMatchThreshold": UNDER_THE_FLOOR}
    played.expect_error("SearchFacesByImage", "AccessDeniedException", **of, **low)
    another = _records(played.ask("IndexFaces", **of, Image=image))
    found = played.ask("SearchFaces", **of, FaceId=face_ids[0], FaceMatchThreshold=99, MaxFaces=10)
    played.expect("SearchFaces", "the other picture", holds=_matches(found) == another)


def _look_and_compare(played: Played, pictures: Pictures) -> None:
    person = pictures.persons()[0]
    first, second = pictures.given(person, "a.jpg"), pictures.stored(person, "b.jpg")
    seen = played.ask("DetectFaces", Image=first, Attributes=["ALL"])
    played.expect("DetectFaces", "one face", holds=len(seen.get("FaceDetails", [])) == 1)
    compared = played.ask("CompareFaces", SourceImage=first, TargetImage=second)
    played.expect("CompareFaces", "one match", holds=len(compared.get("FaceMatches", [])) == 1)


def _make_a_user(played: Played, pictures: Pictures, face_ids: list[str], of: dict[str, Any]) -> None:
    image = pictures.given(pictures.persons()[0], "b.jpg")
    user, once = of | {"UserId": USER}, {"ClientRequestToken": secrets.token_hex(8)}  # it is known for hours
    for _ in range(2):
        played.ask("CreateUser", **user, **once)
    played.expect_error("CreateUser", "ConflictException", **user)
    linked = played.ask("AssociateFaces", **user, FaceIds=face_ids[:1])
    played.expect("AssociateFaces", "one face", holds=len(linked.get("AssociatedFaces", [])) == 1)
    listed = played.ask("ListUsers", **of, MaxResults=1)
    played.expect(
        "ListUsers", "the user", holds=[each["UserId"] for each in listed.get("Users", [])] == [USER]
    )
    for operation, members in (
        (
            "SearchUsers",
            {"FaceId": next(iter(_records(played.ask("IndexFaces", **of, Image=image))), NOBODY)},
        ),
        ("SearchUsersByImage", {"Image": image, "MaxUsers": 1}),
    ):
        found = played.ask(operation, **of, **members)
        played.expect(operation, "the user", holds=_users(found) == [USER])
    parted = played.ask("DisassociateFaces", **user, FaceIds=face_ids[:1])
    played.expect("DisassociateFaces", "one face", holds=len(parted.get("DisassociatedFaces", [])) == 1)
    played.ask("DeleteUser", **user)


def _tag(played: Played, collection: str) -> None:
    described = played.ask("DescribeCollection", CollectionId=collection)
    of = {"ResourceArn": described.get("CollectionARN", "x" * 20)}
    played.ask("TagResource", **of, Tags={"team": "a"})
    listed = played.ask("ListTagsForResource", **of)
    played.expect("ListTagsForResource", "the tag", holds=listed.get("Tags") == {"team": "a"})
    played.ask("UntagResource", **of, TagKeys=["team"])


def _ask_for_the_others(played: Played) -> None:
    for operation in played.model.operation_names:
        if operation in played.faults:
            continue
        try:
            played.client.ask(operation, least(played.model.operation_model(operation).input_shape))
            played.expect(operation, "an error", holds=False)
        except RefusedError as err:
            says_so = err.code == "AccessDeniedException" and operation in str(err)
            played.refused[operation] = str(err)
            played.expect(operation, f"a refusal by name, found {err},", holds=says_so)


def _records(answer: dict[str, Any]) -> list[str]:
    return [record["Face"]["FaceId"] for record in answer.get("FaceRecords", [])]


def _users(answer: dict[str, Any]) -> list[str]:
    return [match["User"]["UserId"] for match in answer.get("UserMatches", [])]


def _matches(answer: dict[str, Any]) -> list[str]:
    return [match["Face"]["FaceId"] for match in answer.get("FaceMatches", [])]


def least(shape: Any) -> Any:
    """The least that a shape of the model wants. Clients look at it before they send."""
    match shape:
        case None:
            return {}
        case StructureShape():
            return {name: least(shape.members[name]) for name in shape.required_members}
        case ListShape():
            return [least(shape.member)] * max(1, shape.metadata.get("min", 1))
        case _ if shape.type_name == "string":
            return next(iter(shape.enum), "x" * max(1, shape.metadata.get("min", 1)))
        case _:
            return {"blob": {"base64": "AAAA"}, "boolean": True, "map": {}}.get(shape.type_name, 1)
