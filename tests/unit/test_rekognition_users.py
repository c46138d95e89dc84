"""Users and tags by the Rekognition endpoint, asked by a real client of botocore."""

import json
from typing import Any

import pytest

from pipeline.api.backend import Backend
from pipeline.errors import TransientError
from pipeline.ports.image_rows import image_id_of_row
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import KeyRole, PersonFace
from tests.face_models import DrawnFace, picture
from tests.unit import test_rekognition as endpoint
from tests.unit.face_world import ANNA, BERTA, CLARA, LARGE
from tests.unit.test_rekognition import OF_POLICY, Ask, add, held, ids_of, refusal

model_file, face_embedder = endpoint.model_file, endpoint.face_embedder
deps, backend, served = endpoint.deps, endpoint.backend, endpoint.served
ask, people = endpoint.ask, endpoint.people

NOBODY = "00000000-0000-0000-0000-000000000001"
OF = {"CollectionId": "people"}


def make(found: Any, *user_ids: str) -> None:
    for user_id in user_ids:
        assert held(found, "create_user", **OF, UserId=user_id)["ResponseMetadata"]["HTTPStatusCode"] == 200


def associate(found: Any, user_id: str, *face_ids: str, **more: Any) -> Any:
    return held(found, "associate_faces", **OF, UserId=user_id, FaceIds=list(face_ids), **more)


def users(found: Any) -> dict[str, str]:
    return {each["UserId"]: each["UserStatus"] for each in held(found, "list_users", **OF)["Users"]}


def face_of(found: Any, face: DrawnFace, external: str) -> str:
    """The id of a face that is indexed alone."""
    [record] = add(found, face, external=external)["FaceRecords"]
    return str(record["Face"]["FaceId"])


def matches(answer: Any) -> list[str]:
    return [match["User"]["UserId"] for match in answer["UserMatches"]]


def test_users_are_made_listed_in_pages_counted_and_deleted(people: Any) -> None:
    make(people, "b:2", "a.1", "c-3")
    assert users(people) == {"a.1": "CREATED", "b:2": "CREATED", "c-3": "CREATED"}
    pages = people[0].get_paginator("list_users").paginate(**OF, PaginationConfig={"PageSize": 2})
    assert [[each["UserId"] for each in page["Users"]] for page in pages] == [["a.1", "b:2"], ["c-3"]]
    assert held(people, "describe_collection", **OF)["UserCount"] == 3
    held(people, "delete_user", **OF, UserId="a.1")
    assert list(users(people)) == ["b:2", "c-3"]
    assert refusal(people, "delete_user", **OF, UserId="a.1")[0] == "ResourceNotFoundException"
    assert refusal(people, "create_user", **OF, UserId="b:2")[0] == "ConflictException"
    other = refusal(people, "list_users", CollectionId="nowhere")
    assert other[0] == "ResourceNotFoundException"
    assert refusal(people, "list_users", **OF, NextToken="x")[0] == "InvalidPaginationTokenException"


def test_a_token_makes_the_same_request_one_request_and_another_a_mismatch(people: Any) -> None:
    for _ in range(2):
        held(people, "create_user", **OF, UserId="anna", ClientRequestToken="t1")
    code, _ = refusal(people, "create_user", **OF, UserId="berta", ClientRequestToken="t1")
    assert code == "IdempotentParameterMismatchException"
    face_id = ids_of(people)[0]
    answers = [associate(people, "anna", face_id, ClientRequestToken="t2") for _ in range(2)]
    assert [answer["AssociatedFaces"] for answer in answers] == [[{"FaceId": face_id}]] * 2
    assert associate(people, "anna", face_id, ClientRequestToken="t3")["AssociatedFaces"] == []


def test_a_token_of_a_request_that_failed_may_be_used_again(people: Any, log: MemoryAuditLog) -> None:
    log.fail_next(TransientError("away"))
    wanted = {**OF, "UserId": "anna", "ClientRequestToken": "t1"}
    assert refusal(people, "create_user", **wanted)[0] == "InternalServerError"
    held(people, "create_user", **wanted)
    assert list(users(people)) == ["anna"]


def test_the_token_of_another_key_stands_in_nobody_s_way(people: Any, ask: Ask) -> None:
    held(people, "create_user", **OF, UserId="anna", ClientRequestToken="t1")
    held(ask(), "create_user", **OF, UserId="berta", ClientRequestToken="t1")
    assert list(users(people)) == ["anna", "berta"]


def test_faces_become_a_user_s_and_all_answers_say_so(people: Any) -> None:
    make(people, "berta")
    berta = face_of(people, BERTA, "berta")
    answer = associate(people, "berta", berta)
    assert (answer["AssociatedFaces"], answer["UserStatus"]) == ([{"FaceId": berta}], "ACTIVE")
    assert answer["UnsuccessfulFaceAssociations"] == []
    assert users(people) == {"berta": "ACTIVE"}
    listed = held(people, "list_faces", **OF)["Faces"]
    assert {face["FaceId"]: face.get("UserId") for face in listed}[berta] == "berta"
    assert sum("UserId" in face for face in listed) == 1
    mine = held(people, "list_faces", **OF, UserId="berta")["Faces"]
    assert [face["FaceId"] for face in mine] == [berta]
    none = held(people, "list_faces", **OF, UserId="berta", FaceIds=[NOBODY])["Faces"]
    assert none == []
    assert refusal(people, "list_faces", **OF, UserId="x")[0] == "ResourceNotFoundException"
    found = held(people, "search_faces_by_image", **OF, Image={"Bytes": picture([BERTA])})["FaceMatches"]
    assert "berta" in [match["Face"].get("UserId") for match in found]
    again = add(people, BERTA, external="berta")["FaceRecords"][0]["Face"]
    assert again["UserId"] == "berta"


def test_a_face_that_cannot_be_associated_is_told_with_a_reason(people: Any) -> None:
    make(people, "anna", "berta")
    anna, berta, clara = (face_of(people, face, f"f{n}") for n, face in enumerate((ANNA, BERTA, CLARA)))
    associate(people, "anna", anna)
    associate(people, "berta", berta)
    answer = associate(people, "anna", anna, berta, clara, NOBODY, UserMatchThreshold=95.0)
    assert answer["AssociatedFaces"] == []
    told = {each["FaceId"]: each for each in answer["UnsuccessfulFaceAssociations"]}
    assert set(told) == {berta, clara, NOBODY}, "one that is associated already is in neither list"
    assert told[NOBODY]["Reasons"] == ["FACE_NOT_FOUND"]
    assert (told[berta]["Reasons"], told[berta]["UserId"]) == (["ASSOCIATED_TO_A_DIFFERENT_USER"], "berta")
    assert told[clara]["Reasons"] == ["LOW_MATCH_CONFIDENCE"]
    assert 0 < told[clara]["Confidence"] < 95
    assert associate(people, "anna", clara, UserMatchThreshold=0.0)["AssociatedFaces"] == [{"FaceId": clara}]
    assert (
        refusal(people, "associate_faces", **OF, UserId="x", FaceIds=[anna])[0] == "ResourceNotFoundException"
    )


def test_faces_are_disassociated_and_can_be_another_user_s(people: Any) -> None:
    make(people, "anna", "berta")
    anna, berta = face_of(people, ANNA, "anna"), face_of(people, BERTA, "berta")
    associate(people, "anna", anna)
    associate(people, "berta", berta)
    wanted = {"UserId": "anna", "FaceIds": [anna, berta, NOBODY, ids_of(people)[0]]}
    answer = held(people, "disassociate_faces", **OF, **wanted)
    assert (answer["DisassociatedFaces"], answer["UserStatus"]) == ([{"FaceId": anna}], "CREATED")
    told = {each["FaceId"]: each["Reasons"] for each in answer["UnsuccessfulFaceDisassociations"]}
    assert told.pop(berta) == ["ASSOCIATED_TO_A_DIFFERENT_USER"]
    assert told.pop(NOBODY) == ["FACE_NOT_FOUND"]
    assert set(told) <= {anna}
    assert associate(people, "berta", anna, UserMatchThreshold=0.0)["AssociatedFaces"] == [{"FaceId": anna}]


def test_a_hundred_faces_are_a_user_s_and_no_more(people: Any, backend: Backend) -> None:
    make(people, "anna")
    every = [face_of(people, ANNA, f"n{number}") for number in range(2)]
    known = backend.persons
    live = [PersonFace(row_id=f"{face_id.replace('-', '')}:00") for face_id in every[:1]]
    known.add_faces("people", "anna", live)
    # 99 that the index does not have: they count for nothing, and make room.
    known.add_faces("people", "anna", [PersonFace(row_id=f"{number:032x}:00") for number in range(99)])
    assert associate(people, "anna", every[1])["AssociatedFaces"] == [{"FaceId": every[1]}]
    assert len(known.faces_of("people", ["anna"])["anna"]) == 2


def test_the_hundred_and_first_face_is_over_the_quota(people: Any) -> None:
    make(people, "anna")
    first = [face_of(people, ANNA, f"n{number}") for number in range(101)]
    assert len(associate(people, "anna", *first[:100])["AssociatedFaces"]) == 100
    code, words = refusal(people, "associate_faces", **OF, UserId="anna", FaceIds=first[100:])
    assert (code, "would have 101" in words) == ("ServiceQuotaExceededException", True)
    assert len(held(people, "list_faces", **OF, UserId="anna")["Faces"]) == 100


def test_a_face_of_a_user_is_not_deleted_until_it_is_disassociated(people: Any) -> None:
    make(people, "anna")
    anna, free = face_of(people, ANNA, "one"), face_of(people, ANNA, "two")
    associate(people, "anna", anna)
    answer = held(people, "delete_faces", **OF, FaceIds=[anna, free, NOBODY])
    assert answer["DeletedFaces"] == [free]
    told = {each["FaceId"]: each for each in answer["UnsuccessfulFaceDeletions"]}
    assert told[anna]["Reasons"] == ["ASSOCIATED_TO_AN_EXISTING_USER"]
    assert told[anna]["UserId"] == "anna"
    assert told[NOBODY]["Reasons"] == ["FACE_NOT_FOUND"]
    held(people, "disassociate_faces", **OF, UserId="anna", FaceIds=[anna])
    assert held(people, "delete_faces", **OF, FaceIds=[anna])["DeletedFaces"] == [anna]


def test_the_faces_of_a_deleted_user_stay_and_are_nobody_s(people: Any) -> None:
    make(people, "anna")
    anna = face_of(people, ANNA, "anna")
    associate(people, "anna", anna)
    held(people, "delete_user", **OF, UserId="anna")
    assert anna in ids_of(people)
    assert not any("UserId" in face for face in held(people, "list_faces", **OF)["Faces"])


def test_a_deleted_collection_takes_its_users_and_tags_along(people: Any) -> None:
    make(people, "anna")
    arn = held(people, "describe_collection", **OF)["CollectionARN"]
    held(people, "tag_resource", ResourceArn=arn, Tags={"team": "one"})
    held(people, "delete_collection", **OF)
    held(people, "create_collection", **OF)
    assert users(people) == {}
    assert held(people, "list_tags_for_resource", ResourceArn=arn)["Tags"] == {}


def test_a_face_that_leaves_the_index_by_another_way_is_no_user_s_any_more(
    people: Any, backend: Backend
) -> None:
    make(people, "anna")
    one, two = face_of(people, ANNA, "one"), face_of(people, ANNA, "two")
    associate(people, "anna", one, two)
    target = backend.index.live("people")
    backend.index.delete_images(target, [one.replace("-", "")])
    assert [f["FaceId"] for f in held(people, "list_faces", **OF, UserId="anna")["Faces"]] == [two]
    backend.index.delete_images(target, [two.replace("-", "")])
    assert users(people) == {"anna": "CREATED"}
    add(people, ANNA, external="one")
    assert users(people) == {"anna": "ACTIVE"}, "the same face has come back"


def test_users_are_found_by_a_face_a_user_and_a_picture(people: Any, log: MemoryAuditLog) -> None:
    make(people, "anna", "berta", "other")
    anna, berta, again = (face_of(people, *of) for of in ((ANNA, "a"), (BERTA, "b"), (BERTA, "c")))
    associate(people, "anna", anna)
    associate(people, "berta", berta)
    associate(people, "other", again)
    by_face = held(people, "search_users", **OF, FaceId=berta, UserMatchThreshold=99.0)
    assert by_face["SearchedFace"] == {"FaceId": berta}
    assert matches(by_face) == ["berta", "other"]
    by_user = held(people, "search_users", **OF, UserId="berta", UserMatchThreshold=99.0)
    assert by_user["SearchedUser"] == {"UserId": "berta"}
    assert matches(by_user) == ["other"], "without the user who was searched for"
    image = {"Bytes": picture([BERTA, LARGE])}
    by_image = held(people, "search_users_by_image", **OF, Image=image, UserMatchThreshold=99.0)
    assert matches(by_image) == [], "the largest face alone is searched for"
    [other] = by_image["UnsearchedFaces"]
    assert other["Reasons"] == ["FACE_NOT_LARGEST"]
    box = by_image["SearchedFace"]["FaceDetail"]["BoundingBox"]
    assert box["Width"] == pytest.approx(LARGE.side_px / 320, abs=1e-6)
    single = held(people, "search_users_by_image", **OF, Image={"Bytes": picture([BERTA])}, MaxUsers=1)
    assert matches(single) == ["berta"]
    assert single["UserMatches"][0]["Similarity"] > 99
    headers = people[1].answers[-1].headers
    assert headers["x-pictor-receipt"] == [entry.record_id for entry in log.entries()][-1]
    record = json.loads([*log.entries()][-1].record or b"")
    assert (record["kind"], record["details"]["persons"]) == ("search", ["berta"])
    assert [candidate["id"] for candidate in record["candidates"]]


def test_a_picture_without_a_face_finds_nobody_and_is_no_error(people: Any) -> None:
    empty = held(people, "search_users_by_image", **OF, Image={"Bytes": picture([])})
    assert (empty["UserMatches"], "SearchedFace" in empty) == ([], False)
    poor = held(people, "search_users_by_image", **OF, Image={"Bytes": picture([ANNA])}, QualityFilter="HIGH")
    assert (poor["UserMatches"], "SearchedFace" in poor) == ([], False)
    assert "SMALL_BOUNDING_BOX" in poor["UnsearchedFaces"][0]["Reasons"]


def test_a_search_for_users_names_one_example_that_is_there(people: Any) -> None:
    make(people, "empty")
    neither = refusal(people, "search_users", **OF)
    both = refusal(people, "search_users", **OF, UserId="empty", FaceId=NOBODY)
    assert neither[0] == both[0] == "InvalidParameterException"
    assert refusal(people, "search_users", **OF, FaceId=NOBODY)[0] == "InvalidParameterException"
    for user_id in ("nobody", "empty"):
        code, words = refusal(people, "search_users", **OF, UserId=user_id)
        assert (code, user_id in words) == ("ResourceNotFoundException", True)


def test_a_user_is_the_mean_of_the_faces_that_are_theirs(people: Any, backend: Backend) -> None:
    """Neither of two very different faces alone is the user."""
    make(people, "both")
    annas, clara = [face_of(people, ANNA, f"a{number}") for number in range(4)], face_of(people, CLARA, "c")
    associate(people, "both", *annas, clara, UserMatchThreshold=0.0)
    anna = annas[0]
    target = backend.index.live("people")
    rows = backend.index.get_rows(target, [f"{i.replace('-', '')}:00" for i in (anna, clara)])
    first, second = (row.vector for row in rows)
    total = len(annas) * first + second
    mean = total / float((total @ total) ** 0.5)
    expected = 50 * (1 + float(mean @ first))
    assert OF_POLICY < expected < 99.5, "the policy lets it through, and no face alone is meant"
    answer = held(people, "search_users", **OF, FaceId=anna)
    assert answer["UserMatches"][0]["Similarity"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("operation", ["search_users", "search_users_by_image"])
def test_a_search_for_users_is_recorded_or_not_answered(
    people: Any, log: MemoryAuditLog, operation: str
) -> None:
    members: Any = {
        "search_users": {"FaceId": ids_of(people)[0]},
        "search_users_by_image": {"Image": {"Bytes": picture([BERTA])}},
    }[operation]
    before = len(list(log.entries()))
    held(people, operation, **OF, **members)
    assert len(list(log.entries())) == before + 1
    log.fail_next(TransientError("away"))
    code, words = refusal(people, operation, **OF, **members)
    assert (code, "could not be recorded" in words) == ("InternalServerError", True)


def test_a_search_for_users_keeps_to_the_policy(people: Any, ask: Ask, log: MemoryAuditLog) -> None:
    image = {"Image": {"Bytes": picture([BERTA])}}
    code, words = refusal(people, "search_users_by_image", **OF, **image, UserMatchThreshold=80.0)
    assert (code, f"of {endpoint.OF_POLICY:.4f}" in words) == ("AccessDeniedException", True)
    bare = ask(KeyRole.SEARCHER, stated={})
    for operation, members in (("search_users", {"FaceId": NOBODY}), ("search_users_by_image", image)):
        before = len(list(log.entries()))
        code, words = refusal(bare, operation, **OF, **members)
        assert (code, "purpose" in words) == ("AccessDeniedException", True)
        assert len(list(log.entries())) == before + 1, "the refusal is recorded"


CHANGES: dict[str, dict[str, Any]] = {
    "create_user": {"UserId": "new"},
    "delete_user": {"UserId": "anna"},
    "associate_faces": {"UserId": "anna"},
    "disassociate_faces": {"UserId": "anna"},
}


@pytest.mark.parametrize("operation", CHANGES)
def test_a_change_of_users_is_recorded_or_not_made(people: Any, log: MemoryAuditLog, operation: str) -> None:
    make(people, "anna")
    one, two = face_of(people, ANNA, "one"), face_of(people, ANNA, "two")
    associate(people, "anna", one)
    faces = {"associate_faces": {"FaceIds": [two]}, "disassociate_faces": {"FaceIds": [one]}}
    members = CHANGES[operation] | faces.get(operation, {})

    def state() -> object:
        return users(people), [f["FaceId"] for f in held(people, "list_faces", **OF, UserId="anna")["Faces"]]

    before = state()
    log.fail_next(TransientError("away"))
    assert refusal(people, operation, **OF, **members)[0] == "InternalServerError"
    assert state() == before
    held(people, operation, **OF, **members)
    record = json.loads([*log.entries()][-1].record or b"")
    assert record["kind"] == "person_change"
    assert record["reference_db"]["collection"] == "people"
    assert record["details"]["person"] == members["UserId"]
    named = [image_id_of_row(row_id) for row_id in record["details"]["faces"]]
    assert named == [face_id.replace("-", "") for face_id in members.get("FaceIds", [])]


def test_roles_and_tenants_hold_for_users_and_tags(people: Any, ask: Ask) -> None:
    make(people, "anna")
    arn = held(people, "describe_collection", **OF)["CollectionARN"]
    face_id = ids_of(people)[0]
    searcher, auditor = ask(KeyRole.SEARCHER), ask(KeyRole.AUDITOR)
    for found, operation, members in (
        (searcher, "create_user", {**OF, "UserId": "new"}),
        (searcher, "delete_user", {**OF, "UserId": "anna"}),
        (searcher, "associate_faces", {**OF, "UserId": "anna", "FaceIds": [face_id]}),
        (searcher, "disassociate_faces", {**OF, "UserId": "anna", "FaceIds": [face_id]}),
        (searcher, "tag_resource", {"ResourceArn": arn, "Tags": {"a": "b"}}),
        (searcher, "untag_resource", {"ResourceArn": arn, "TagKeys": ["a"]}),
        (auditor, "search_users", {**OF, "FaceId": face_id}),
    ):
        assert refusal(found, operation, **members)[0] == "AccessDeniedException", operation
    assert users(auditor) == {"anna": "CREATED"}
    other = ask(tenant="acme")
    held(other, "create_collection", **OF)
    assert users(other) == {}
    assert refusal(other, "list_tags_for_resource", ResourceArn=arn)[0] == "ResourceNotFoundException"
    answer = [each["Reasons"] for each in _associated_by(other, face_id)]
    assert answer == [["FACE_NOT_FOUND"]]


def _associated_by(found: Any, face_id: str) -> Any:
    make(found, "anna")
    return associate(found, "anna", face_id)["UnsuccessfulFaceAssociations"]


# Tags


def test_a_collection_has_tags_from_its_creation_on(ask: Ask) -> None:
    found = ask()
    tags = {"team": "Ärzte & co".replace("&", "+"), "cost:centre": ""}
    arn = held(found, "create_collection", CollectionId="tagged", Tags=tags)["CollectionArn"]
    assert held(found, "list_tags_for_resource", ResourceArn=arn)["Tags"] == tags
    held(found, "tag_resource", ResourceArn=f"arn:{arn}", Tags={"team": "two"})
    held(found, "untag_resource", ResourceArn=arn, TagKeys=["cost:centre", "never there"])
    assert held(found, "list_tags_for_resource", ResourceArn=arn)["Tags"] == {"team": "two"}


def test_every_change_of_tags_is_recorded_or_not_made(ask: Ask, log: MemoryAuditLog) -> None:
    found = ask()
    arn = held(found, "create_collection", CollectionId="tagged", Tags={"a": "1"})["CollectionArn"]
    held(found, "tag_resource", ResourceArn=arn, Tags={"b": "2"})
    held(found, "untag_resource", ResourceArn=arn, TagKeys=["a"])
    told = [json.loads(entry.record or b"{}") for entry in log.entries()]
    changes = [(one["outcome"], one["details"]) for one in told if one["kind"] == "collection_change"]
    assert changes == [
        ("tagged", {"tags": {"a": "1"}}),
        ("tagged", {"tags": {"b": "2"}}),
        ("untagged", {"keys": ["a"]}),
    ]
    for operation, changed in (
        ("tag_resource", {"Tags": {"c": "3"}}),
        ("untag_resource", {"TagKeys": ["b"]}),
    ):
        log.fail_next(TransientError("away"))
        refusal(found, operation, ResourceArn=arn, **changed)
        assert held(found, "list_tags_for_resource", ResourceArn=arn)["Tags"] == {"b": "2"}


@pytest.mark.parametrize(
    "tags", [{"aws:x": "y"}, {"a": "b&c"}, {"tab\t": ""}, {"new": "line\n"}], ids=lambda tags: str([*tags])
)
def test_what_is_no_tag_is_refused_and_makes_nothing(ask: Ask, tags: dict[str, str]) -> None:
    found = ask()
    code, _ = refusal(found, "create_collection", CollectionId="tagged", Tags=tags)
    assert code == "InvalidParameterException"
    assert "tagged" not in held(found, "list_collections")["CollectionIds"]
    arn = held(found, "create_collection", CollectionId="plain")["CollectionArn"]
    assert refusal(found, "tag_resource", ResourceArn=arn, Tags=tags)[0] == "InvalidParameterException"
    assert held(found, "list_tags_for_resource", ResourceArn=arn)["Tags"] == {}


def test_two_hundred_tags_are_allowed(ask: Ask) -> None:
    found = ask()
    arn = held(found, "create_collection", CollectionId="tagged")["CollectionArn"]
    held(found, "tag_resource", ResourceArn=arn, Tags={f"k{number}": "v" for number in range(200)})
    code, words = refusal(found, "tag_resource", ResourceArn=arn, Tags={"more": "v"})
    assert (code, "201 tags" in words) == ("ServiceQuotaExceededException", True)


@pytest.mark.parametrize(
    ("arn", "expected"),
    [
        ("aws:rekognition:pictor:default:collection/nowhere", "ResourceNotFoundException"),
        ("aws:rekognition:pictor:default:streamprocessor/x", "InvalidParameterException"),
        ("aws:s3:::a-bucket-of-somebody", "InvalidParameterException"),
    ],
)
def test_a_resource_that_is_no_collection_is_refused(ask: Ask, arn: str, expected: str) -> None:
    found = ask()
    for operation, members in (
        ("tag_resource", {"Tags": {"a": "b"}}),
        ("untag_resource", {"TagKeys": ["a"]}),
        ("list_tags_for_resource", {}),
    ):
        assert refusal(found, operation, ResourceArn=arn, **members)[0] == expected, operation
