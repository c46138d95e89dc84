"""The Rekognition endpoint, asked by a real client of botocore, and each answer held against its model."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from starlette.testclient import TestClient

from pipeline.api.app import MAX_BODY_BYTES, make_app
from pipeline.api.backend import Backend
from pipeline.api.rekognition.shapes import face
from pipeline.errors import TransientError
from pipeline.ports import Deps, ImageEmbedder
from pipeline.ports.image_rows import view_row_id
from pipeline.service.access import local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.face_pictures import forget_pictures
from pipeline.service.keys import KeyRequest, create_key, revoke_key
from pipeline.service.policies import decide_policy
from pipeline.settings import Settings
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import Justification, KeyRole, image_id_of
from tests.accountable import NO_LOG
from tests.face_models import DrawnFace, picture
from tests.hostile_files import make_hostile_files
from tests.unit import face_world
from tests.unit.api_client import ORIGIN, backend_of
from tests.unit.aws_client import MASTER, Wire, aws_client, unknown_members
from tests.unit.face_world import ANNA, BERTA, CLARA, LARGE, deps_of_faces, index_faces
from tests.unit.fakes import BUCKET

PURPOSE = {"X-Pictor-Purpose": "test"}
POLICY = {"purposes": [{"code": "test", "text": "A test"}], "roles": ["admin", "searcher"]}
OF_POLICY = 99.0  # its floor, since it names none
EVERY = {"QualityFilter": "NONE"}
FACE_ID = "01234567-89ab-cdef-0123-456789abcdef"

model_file, face_embedder = face_world.model_file, face_world.face_embedder


@pytest.fixture
def deps(deps: Deps, model_file: Path, face_embedder: ImageEmbedder) -> Deps:
    return deps_of_faces(deps, model_file, face_embedder)


@pytest.fixture
def backend(deps: Deps, tmp_path: Path, log: MemoryAuditLog) -> Backend:
    made = backend_of(deps, tmp_path, log=log)
    template = tmp_path / "policy.json"
    template.write_text(json.dumps(POLICY), encoding="utf-8")
    settings = made.settings.model_copy(
        update={"rekognition_policy": template, "model": "tiny-faces", "rekognition_collection": "people"}
    )
    answers_to = Accountability(
        log=log, policies=made.policies, index=made.index, clock_s=iter(range(10**9)).__next__
    )
    return replace(made, settings=settings, answers_to=answers_to)


@pytest.fixture
def served(backend: Backend) -> Iterator[TestClient]:
    with TestClient(
        make_app(backend, aws_key=MASTER), base_url=ORIGIN, raise_server_exceptions=False
    ) as client:
        yield client


Ask = Callable[..., tuple[BaseClient, Wire]]


@pytest.fixture
def ask(served: TestClient, backend: Backend) -> Ask:
    """A client with a new key of these roles."""

    def made(*roles: KeyRole, stated: Any = PURPOSE, path: str = "/rekognition", **more: Any) -> Any:
        request = KeyRequest(name="a test's", roles=roles or (KeyRole.ADMIN,), **more)
        key = create_key(request, backend.keys, NO_LOG, local_caller()).key
        return aws_client(served, key.key_id, stated=stated, path=path)

    return made


def held(found: tuple[BaseClient, Wire], operation: str, **members: Any) -> Any:
    """The answer, which has no member that the model has not."""
    client, wire = found
    answer = getattr(client, operation)(**members)
    name = client.meta.method_to_api_mapping[operation]
    assert unknown_members(client, name, wire.answers[-1].content) == []
    return answer


def refusal(found: tuple[BaseClient, Wire], operation: str, **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        getattr(found[0], operation)(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.fixture
def people(ask: Ask) -> tuple[BaseClient, Wire]:
    """An administrator's client, beside a collection with four faces of two pictures."""
    found = ask()
    held(found, "create_collection", CollectionId="people")
    add(found, LARGE, ANNA, BERTA, external="group:1")
    add(found, BERTA, external="berta")
    return found


def add(found: tuple[BaseClient, Wire], *faces: DrawnFace, external: str = "", **more: Any) -> Any:
    named = {"ExternalImageId": external} if external else {}
    return held(
        found,
        "index_faces",
        CollectionId="people",
        Image={"Bytes": picture(faces)},
        **EVERY,
        **named,
        **more,
    )


def ids_of(found: tuple[BaseClient, Wire]) -> list[str]:
    return [face["FaceId"] for face in held(found, "list_faces", CollectionId="people")["Faces"]]


def test_collections_are_made_described_listed_and_deleted(ask: Ask) -> None:
    found = ask()
    made = held(found, "create_collection", CollectionId="my-people.1")
    assert made["StatusCode"] == 200
    assert held(found, "list_collections")["CollectionIds"] == ["images", "my-people.1"]
    told = held(found, "describe_collection", CollectionId="my-people.1")
    assert (told["FaceCount"], told["CollectionARN"]) == (0, made["CollectionArn"])
    assert told["FaceModelVersion"] == made["FaceModelVersion"]
    assert told["CreationTimestamp"].tzinfo is not None
    again = refusal(found, "create_collection", CollectionId="my-people.1")
    assert again[0] == "ResourceAlreadyExistsException"
    assert held(found, "delete_collection", CollectionId="my-people.1")["StatusCode"] == 200
    assert refusal(found, "describe_collection", CollectionId="my-people.1")[0] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("describe_collection", {}),
        ("delete_collection", {}),
        ("list_faces", {}),
        ("delete_faces", {"FaceIds": [FACE_ID]}),
        ("search_faces", {"FaceId": FACE_ID}),
        ("search_faces_by_image", {"Image": {"Bytes": picture([ANNA])}}),
        ("index_faces", {"Image": {"Bytes": picture([ANNA])}}),
        ("list_users", {}),
        ("create_user", {"UserId": "anna"}),
        ("search_users", {"UserId": "anna"}),
    ],
)
def test_of_collections_a_client_is_told_ids_and_no_other_names(
    ask: Ask, operation: str, members: dict[str, Any]
) -> None:
    found = ask()
    held(found, "create_collection", CollectionId="my-people.1")
    code, words = refusal(found, operation, CollectionId="no-body", **members)
    assert (code, "'no-body'" in words) == ("ResourceNotFoundException", True)
    assert "rk_id" not in words
    if operation == "describe_collection":
        assert "my-people.1" in words


def test_a_key_of_other_collections_is_told_the_id_too(ask: Ask) -> None:
    held(ask(), "create_collection", CollectionId="my-people.1")
    code, words = refusal(ask(collections=("images",)), "list_faces", CollectionId="my-people.1")
    assert (code, "rk_id" in words) == ("AccessDeniedException", False)


def test_a_list_of_collections_has_pages(ask: Ask) -> None:
    found = ask()
    for name in ("a", "b", "c"):
        held(found, "create_collection", CollectionId=name)
    pages = list(found[0].get_paginator("list_collections").paginate(PaginationConfig={"PageSize": 2}))
    assert [page["CollectionIds"] for page in pages] == [["a", "b"], ["c", "images"]]
    code, _ = refusal(found, "list_collections", NextToken="of-nobody")
    assert code == "InvalidPaginationTokenException"


def test_no_collection_of_faces_is_made_without_a_policy(backend: Backend, ask: Ask) -> None:
    object.__setattr__(backend, "settings", backend.settings.model_copy(update={"rekognition_policy": None}))
    code, words = refusal(ask(), "create_collection", CollectionId="people")
    assert code == "InvalidParameterException"
    assert "has no policy" in words
    assert "PICTOR_REKOGNITION_POLICY" in words


def test_faces_are_indexed_the_largest_first_with_what_is_known_of_them(people: Any) -> None:
    answer = add(people, ANNA, LARGE, external="two")
    first, second = (record["Face"] for record in answer["FaceRecords"])
    assert first["BoundingBox"]["Width"] > second["BoundingBox"]["Width"]
    assert first["BoundingBox"]["Left"] == pytest.approx(LARGE.left / 320, abs=1e-6)
    assert first["ExternalImageId"] == "two"
    assert first["ImageId"] == second["ImageId"] != first["FaceId"]
    detail = answer["FaceRecords"][0]["FaceDetail"]
    assert [mark["Type"] for mark in detail["Landmarks"]][:2] == ["eyeLeft", "eyeRight"]
    assert detail["Confidence"] == pytest.approx(100, abs=1)
    assert set(detail["Pose"]) == {"Roll", "Yaw", "Pitch"}


def test_the_same_picture_with_the_same_external_id_is_indexed_once(people: Any) -> None:
    before = ids_of(people)
    again = add(people, BERTA, external="berta")
    assert ids_of(people) == before
    assert again["FaceRecords"][0]["Face"]["FaceId"] in before
    other = add(people, BERTA, external="another")
    assert other["FaceRecords"][0]["Face"]["FaceId"] not in before
    assert len(ids_of(people)) == len(before) + 1


def test_faces_that_are_too_many_or_not_good_enough_are_told_with_a_reason(people: Any) -> None:
    answer = add(people, LARGE, ANNA, CLARA, external="first", MaxFaces=1)
    assert len(answer["FaceRecords"]) == 1
    assert [each["Reasons"] for each in answer["UnindexedFaces"]] == [["EXCEEDS_MAX_FACES"]] * 2
    high = held(
        people,
        "index_faces",
        CollectionId="people",
        Image={"Bytes": picture([ANNA])},
        QualityFilter="HIGH",
    )
    assert high["FaceRecords"] == []
    assert "SMALL_BOUNDING_BOX" in high["UnindexedFaces"][0]["Reasons"]
    nobody = add(people, external="none")
    assert (nobody["FaceRecords"], nobody["UnindexedFaces"]) == ([], [])


def test_faces_are_listed_page_by_page_and_by_id(people: Any) -> None:
    every = ids_of(people)
    assert len(every) == 4
    pages = (
        people[0]
        .get_paginator("list_faces")
        .paginate(CollectionId="people", PaginationConfig={"PageSize": 3})
    )
    listed = [[face["FaceId"] for face in page["Faces"]] for page in pages]
    assert listed == [every[:3], every[3:]]
    some = held(people, "list_faces", CollectionId="people", FaceIds=[every[2]])
    assert [face["FaceId"] for face in some["Faces"]] == [every[2]]


def test_one_face_of_a_picture_is_deleted_and_the_others_keep_their_ids(people: Any) -> None:
    every = ids_of(people)
    missing = "00000000-0000-0000-0000-000000000001"
    answer = held(people, "delete_faces", CollectionId="people", FaceIds=[every[0], missing])
    assert answer["DeletedFaces"] == [every[0]]
    assert answer["UnsuccessfulFaceDeletions"] == [{"FaceId": missing, "Reasons": ["FACE_NOT_FOUND"]}]
    assert ids_of(people) == every[1:]


def test_the_picture_of_a_face_is_kept_as_long_as_the_face(people: Any, backend: Backend) -> None:
    kept = {ref.key for ref in backend.store.list_objects(BUCKET, "uploads/")}
    assert len(kept) == 4
    held(people, "delete_faces", CollectionId="people", FaceIds=ids_of(people))
    assert list(backend.store.list_objects(BUCKET, "uploads/")) == []


@pytest.mark.parametrize("tenant", ["default", "acme"])
def test_the_pictures_of_a_collection_go_with_it_whoever_drops_it(
    ask: Ask, served: TestClient, backend: Backend, tenant: str
) -> None:
    def kept() -> int:
        return len(list(backend.store.list_objects(BUCKET, "uploads/")))

    found = ask(tenant=tenant)
    for name in ("people", "people2", "people3"):
        held(found, "create_collection", CollectionId=name)
        image = {"Bytes": picture([ANNA, BERTA])}
        held(found, "index_faces", CollectionId=name, Image=image, **EVERY)
    assert kept() == 6
    held(found, "delete_collection", CollectionId="people")
    assert kept() == 4
    stored = "people2" if tenant == "default" else f"tenant_{tenant}_people2"
    forget_pictures(stored, backend.uploads, backend.store, local_caller())
    assert kept() == 2
    forget_pictures("people3", None, backend.store, local_caller())
    assert kept() == 2


def test_a_stored_face_finds_others_and_not_itself(people: Any, log: MemoryAuditLog) -> None:
    faces = held(people, "list_faces", CollectionId="people")["Faces"]
    [single] = [face["FaceId"] for face in faces if face["ExternalImageId"] == "berta"]
    answer = held(people, "search_faces", CollectionId="people", FaceId=single, MaxFaces=5)
    assert answer["SearchedFaceId"] == single
    [match] = answer["FaceMatches"]
    assert match["Face"]["ExternalImageId"] == "group:1"
    assert match["Similarity"] > OF_POLICY
    headers = people[1].answers[-1].headers
    assert headers["x-pictor-receipt"] == [entry.record_id for entry in log.entries()][-1]
    assert headers["x-pictor-calibration"] == "none"
    code, words = refusal(
        people, "search_faces", CollectionId="people", FaceId="00000000-0000-0000-0000-000000000001"
    )
    assert (code, "there is no face" in words) == ("InvalidParameterException", True)


def test_the_largest_face_of_a_picture_is_searched_for_and_no_other(people: Any, log: MemoryAuditLog) -> None:
    before = len(list(log.entries()))
    answer = held(
        people,
        "search_faces_by_image",
        CollectionId="people",
        Image={"Bytes": picture([BERTA, LARGE])},
        FaceMatchThreshold=99.0,
    )
    assert answer["SearchedFaceBoundingBox"]["Width"] == pytest.approx(LARGE.side_px / 320, abs=1e-6)
    assert [match["Face"]["ExternalImageId"] for match in answer["FaceMatches"]] == ["group:1"]
    searches = [entry for entry in list(log.entries())[before:] if b'"search"' in (entry.record or b"")]
    assert len(searches) == 1
    code, words = refusal(
        people, "search_faces_by_image", CollectionId="people", Image={"Bytes": picture([])}
    )
    assert (code, words.startswith("There are no faces")) == ("InvalidParameterException", True)


def test_an_object_of_an_allowed_place_is_a_picture_and_no_other_is(people: Any, deps: Deps) -> None:
    deps.store.put(BUCKET, "shop/berta.png", picture([BERTA]))
    named = {"S3Object": {"Bucket": BUCKET, "Name": "shop/berta.png"}}
    answer = held(people, "search_faces_by_image", CollectionId="people", Image=named)
    assert len(answer["FaceMatches"]) == 2
    indexed = held(people, "index_faces", CollectionId="people", Image=named, **EVERY)
    assert len(indexed["FaceRecords"]) == 1
    for bucket, key, expected in (
        ("elsewhere", "x", "AccessDeniedException"),
        (BUCKET, "missing", "InvalidS3ObjectException"),
    ):
        other = {"S3Object": {"Bucket": bucket, "Name": key}}
        assert refusal(people, "index_faces", CollectionId="people", Image=other)[0] == expected


def test_two_pictures_are_compared_and_a_picture_is_looked_at(people: Any) -> None:
    answer = held(
        people,
        "compare_faces",
        SourceImage={"Bytes": picture([BERTA])},
        TargetImage={"Bytes": picture([LARGE, BERTA])},
    )
    [match] = answer["FaceMatches"]
    assert match["Face"]["BoundingBox"]["Width"] == pytest.approx(BERTA.side_px / 320, abs=1e-6)
    assert len(answer["UnmatchedFaces"]) == 1
    found = held(people, "detect_faces", Image={"Bytes": picture([ANNA, LARGE])}, Attributes=["ALL"])
    assert len(found["FaceDetails"]) == 2


def test_what_names_no_collection_needs_one_that_is_there(ask: Ask) -> None:
    image = {"Bytes": picture([BERTA])}
    found, known = ask(), ("PICTOR_REKOGNITION_COLLECTION", "X-Pictor-Collection")
    for operation, members in (
        ("detect_faces", {"Image": image}),
        ("compare_faces", {"SourceImage": image, "TargetImage": image}),
    ):
        code, words = refusal(found, operation, **members)
        assert (code, "'people', which is not there" in words) == ("InvalidParameterException", True)
        assert all(way in words for way in known)
    by_header = ask(stated={"X-Pictor-Collection": "images"})
    assert len(held(by_header, "detect_faces", Image=image)["FaceDetails"]) == 1


def test_what_names_no_collection_says_so_where_the_service_names_none(ask: Ask, backend: Backend) -> None:
    unset = backend.settings.model_copy(update={"rekognition_collection": ""})
    object.__setattr__(backend, "settings", unset)
    code, words = refusal(ask(), "detect_faces", Image={"Bytes": picture([BERTA])})
    assert (code, "names no collection" in words) == ("InvalidParameterException", True)


def test_faces_that_are_not_good_enough_are_neither_searched_for_nor_compared(people: Any) -> None:
    small, large = {"Bytes": picture([BERTA])}, {"Bytes": picture([LARGE, BERTA])}
    with_filter = {"QualityFilter": "HIGH"}
    for operation, members in (
        ("search_faces_by_image", {"CollectionId": "people", "Image": small}),
        ("compare_faces", {"SourceImage": small, "TargetImage": large}),
        ("compare_faces", {"SourceImage": large, "TargetImage": small}),
    ):
        assert refusal(people, operation, **members, **with_filter)[0] == "InvalidParameterException"
        held(people, operation, **members)
    compared = held(people, "compare_faces", SourceImage=large, TargetImage=large, **with_filter)
    assert (len(compared["FaceMatches"]), compared["UnmatchedFaces"]) == (1, [])


@pytest.mark.parametrize("operation", ["search_faces", "search_faces_by_image", "compare_faces"])
def test_a_search_is_recorded_or_not_answered(people: Any, log: MemoryAuditLog, operation: str) -> None:
    image = {"Bytes": picture([BERTA])}
    members: Any = {
        "search_faces": {"CollectionId": "people", "FaceId": ids_of(people)[0]},
        "search_faces_by_image": {"CollectionId": "people", "Image": image},
        "compare_faces": {"SourceImage": image, "TargetImage": image},
    }[operation]
    before = len(list(log.entries()))
    held(people, operation, **members)
    assert len(list(log.entries())) == before + 1
    log.fail_next(TransientError("away"))
    code, words = refusal(people, operation, **members)
    assert (code, "could not be recorded" in words) == ("InternalServerError", True)


@pytest.mark.parametrize("operation", ["index_faces", "delete_faces", "delete_collection"])
def test_a_change_is_recorded_or_not_made(people: Any, log: MemoryAuditLog, operation: str) -> None:
    before = ids_of(people)
    members: Any = {
        "index_faces": {"Image": {"Bytes": picture([CLARA])}} | EVERY,
        "delete_faces": {"FaceIds": before[:1]},
        "delete_collection": {},
    }[operation]
    log.fail_next(TransientError("away"))
    assert refusal(people, operation, CollectionId="people", **members)[0] == "InternalServerError"
    assert ids_of(people) == before
    entries = len(list(log.entries()))
    held(people, operation, CollectionId="people", **members)
    assert len(list(log.entries())) == entries + 1


def test_a_threshold_under_the_floor_of_the_policy_is_refused_in_the_clients_terms(
    people: Any, log: MemoryAuditLog
) -> None:
    before = len(list(log.entries()))
    code, words = refusal(
        people,
        "search_faces_by_image",
        CollectionId="people",
        Image={"Bytes": picture([BERTA])},
        FaceMatchThreshold=80.0,
    )
    assert (code, f"of {OF_POLICY:.4f}" in words) == ("AccessDeniedException", True)
    [entry] = list(log.entries())[before:]
    record = json.loads(entry.record or b"")
    assert record["decision"]["reason_code"] == "threshold_below_floor"
    assert record["params"]["threshold"] == pytest.approx(0.6), "80, as it was asked for"
    assert record["details"]["min_similarity"] == OF_POLICY
    assert people[1].answers[-1].headers["x-pictor-receipt"] == entry.record_id


def test_a_search_without_a_threshold_has_that_of_the_policy_and_not_the_one_of_aws(
    people: Any, log: MemoryAuditLog
) -> None:
    held(people, "search_faces_by_image", CollectionId="people", Image={"Bytes": picture([BERTA])})
    record = json.loads(list(log.entries())[-1].record or b"")
    assert record["params"]["threshold"] == pytest.approx(0.98)
    assert (record["outcome"], record["details"]["verifications"]) == ("to_be_verified", 2)


def test_a_template_that_allows_more_than_faces_do_waits_for_another_person(
    ask: Ask, backend: Backend
) -> None:
    template = backend.settings.rekognition_policy
    assert template is not None
    template.write_text(json.dumps({**POLICY, "min_similarity": 80}), encoding="utf-8")
    for _ in range(2):  # asking again proposes nothing more
        code, words = refusal(ask(), "create_collection", CollectionId="people")
        assert (code, "version 1" in words) == ("AccessDeniedException", True)
        assert "looser than policies of faces are, in min_similarity" in words
    other = replace(local_caller(), who="another person")
    decide_policy("people", 1, backend.answers_to, other, agree=True)
    assert held(ask(), "create_collection", CollectionId="people")["StatusCode"] == 200


def test_a_search_without_a_purpose_is_refused_with_what_is_missing(people: Any, ask: Ask) -> None:
    bare = ask(KeyRole.SEARCHER, stated={})
    code, words = refusal(
        bare, "search_faces_by_image", CollectionId="people", Image={"Bytes": picture([BERTA])}
    )
    assert (code, "purpose" in words) == ("AccessDeniedException", True)


def test_a_client_that_sends_no_header_searches_for_what_its_key_states(
    people: Any, ask: Ask, log: MemoryAuditLog
) -> None:
    of_key = Justification(purpose="test", case="AB-1")
    members = {"CollectionId": "people", "Image": {"Bytes": picture([BERTA])}}
    held(ask(KeyRole.SEARCHER, stated={}, justification=of_key), "search_faces_by_image", **members)
    record = json.loads([*log.entries()][-1].record or b"")
    assert (record["purpose_code"], record["case_ref"]) == ("test", "AB-1")
    of_request = ask(KeyRole.SEARCHER, stated={"X-Pictor-Case": "CD-2"}, justification=of_key)
    code, words = refusal(of_request, "search_faces_by_image", **members)
    assert (code, "no purpose is stated" in words) == ("AccessDeniedException", True), "no mixture of both"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"no picture", "InvalidImageFormatException"),
        (picture([ANNA])[:200], "InvalidImageFormatException"),
        (b"x" * (5 * 2**20 + 1), "ImageTooLargeException"),
    ],
)
@pytest.mark.parametrize("operation", ["index_faces", "search_faces_by_image"])
def test_a_picture_that_cannot_be_read_has_the_error_of_the_model(
    people: Any, operation: str, body: bytes, expected: str
) -> None:
    assert refusal(people, operation, CollectionId="people", Image={"Bytes": body})[0] == expected


def test_a_body_that_is_too_large_has_an_error_of_the_operation(people: tuple[BaseClient, Wire]) -> None:
    _, wire = people
    wire.body = bytes(MAX_BODY_BYTES + 1)
    assert error_code(people, "list_faces", CollectionId="people") == "InvalidParameterException"


@pytest.mark.parametrize("operation", ["index_faces", "search_faces_by_image"])
def test_a_hostile_picture_has_an_error_of_the_model(
    people: tuple[BaseClient, Wire], deps: Deps, operation: str
) -> None:
    """As an object where it is indexed, and as bytes where it is searched for."""
    client, wire = people
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
    modelled = {shape.name for shape in model.error_shapes}
    for file in make_hostile_files():
        key = f"hostile/{file.name}"
        deps.store.put(BUCKET, key, file.body)
        stored, given = {"S3Object": {"Bucket": BUCKET, "Name": key}}, {"Bytes": file.body}
        image = stored if operation == "index_faces" else given
        code = error_code(people, operation, CollectionId="people", Image=image)
        assert (code in UNREADABLE) == bool(file.reasons), (file.name, code)
        assert code in {"", *modelled}, file.name
        assert wire.answers[-1].status_code < 500, file.name


UNREADABLE = ("InvalidImageFormatException", "ImageTooLargeException")


def error_code(found: tuple[BaseClient, Wire], operation: str, **members: Any) -> str:
    """ "" for an answer."""
    try:
        held(found, operation, **members)
    except ClientError as err:
        return str(err.response["Error"]["Code"])
    return ""


def test_faces_that_a_job_has_indexed_are_searched_listed_and_not_deleted_one_by_one(
    ask: Ask, deps: Deps, backend: Backend
) -> None:
    index_faces(deps, {"anna & co/group.png": [LARGE, ANNA, BERTA]})
    found = ask()
    held(found, "create_collection", CollectionId="people")  # its policy is not that of `images`
    listed = held(found, "list_faces", CollectionId="images")["Faces"]
    assert len({face["FaceId"] for face in listed}) == 3
    assert {face["ExternalImageId"] for face in listed} == {"anna:::co:group.png"}, "the signs of an id"
    assert len({face["ImageId"] for face in listed}) == 1
    by_id = held(found, "list_faces", CollectionId="images", FaceIds=[listed[2]["FaceId"]])["Faces"]
    assert by_id == [listed[2]]
    code, words = refusal(found, "delete_faces", CollectionId="images", FaceIds=[listed[1]["FaceId"]])
    assert (code, "came by a job" in words) == ("InvalidParameterException", True)
    assert len(held(found, "list_faces", CollectionId="images")["Faces"]) == 3


@pytest.mark.parametrize("name", ["external_image_id", "external-image-id"])
def test_an_object_may_say_the_external_id_of_its_faces(deps: Deps, name: str) -> None:
    index_faces(deps, {"group.png": [ANNA]})
    [row] = deps.index.get_rows(deps.index.live("images"), [view_row_id(image_id_of(BUCKET, "group.png"), 0)])
    of_object = replace(row, metadata={**row.metadata, name: "anna/" + "x" * 300})
    assert face(of_object, "v")["ExternalImageId"] == "x" * 255
    of_client = replace(row, metadata={**row.metadata, "rekognition_image_id": "i"})
    assert "ExternalImageId" not in face(of_client, "v"), "whoever gave none has none"


# Who asks


def test_a_client_may_ask_at_the_root_and_the_page_still_has_its_form(ask: Ask, served: TestClient) -> None:
    assert held(ask(path=""), "list_collections")["CollectionIds"] == ["images"]
    assert held(ask(path="/rekognition/"), "list_collections")["CollectionIds"] == ["images"]
    assert "<form" in served.post("/", data={"id": "0" * 32}).text


def test_roles_hold_for_aws_clients(people: Any, ask: Ask, log: MemoryAuditLog) -> None:
    searcher, auditor = ask(KeyRole.SEARCHER), ask(KeyRole.AUDITOR)
    before = len(list(log.entries()))
    image = {"Bytes": picture([BERTA])}
    assert held(searcher, "search_faces_by_image", CollectionId="people", Image=image)["FaceMatches"]
    for found, operation, members in (
        (searcher, "index_faces", {"CollectionId": "people", "Image": image}),
        (searcher, "delete_faces", {"CollectionId": "people", "FaceIds": ids_of(people)}),
        (searcher, "create_collection", {"CollectionId": "another"}),
        (searcher, "delete_collection", {"CollectionId": "people"}),
        (auditor, "search_faces_by_image", {"CollectionId": "people", "Image": image}),
        (auditor, "detect_faces", {"Image": image}),
    ):
        assert refusal(found, operation, **members)[0] == "AccessDeniedException", operation
    [_, tried] = list(log.entries())[before:]  # after the search that was answered
    assert json.loads(tried.record or b"")["outcome"] == "refused"


def test_a_tenant_sees_nothing_of_another(people: Any, ask: Ask) -> None:
    other = ask(tenant="acme")
    assert held(other, "list_collections")["CollectionIds"] == []
    assert refusal(other, "list_faces", CollectionId="people")[0] == "ResourceNotFoundException"
    held(other, "create_collection", CollectionId="people")
    assert held(other, "list_faces", CollectionId="people")["Faces"] == []
    stored = ids_of(people)
    assert held(other, "delete_faces", CollectionId="people", FaceIds=stored)["DeletedFaces"] == []
    assert ids_of(people) == stored


def test_a_revoked_key_signs_nothing_any_more(ask: Ask, backend: Backend) -> None:
    found = ask()
    [key] = backend.keys.list_keys()
    revoke_key(key.key_id, backend.keys, NO_LOG, local_caller())
    assert refusal(found, "list_collections")[0] == "UnrecognizedClientException"


def test_the_wrong_secret_is_refused_and_is_no_use_of_the_key(
    served: TestClient, ask: Ask, backend: Backend
) -> None:
    found = ask()
    [key] = backend.keys.list_keys()
    wrong = aws_client(served, key.key_id, secret="x" * 40)
    assert refusal(wrong, "list_collections")[0] == "InvalidSignatureException"
    assert backend.keys.list_keys()[0].last_used_at is None
    held(found, "list_collections")
    assert backend.keys.list_keys()[0].last_used_at is not None
    unknown = aws_client(served, "0" * 12)
    assert refusal(unknown, "list_collections")[0] == "UnrecognizedClientException"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"X-Pictor-Purpose": "other"}, "InvalidSignatureException"),
        ({"X-Pictor-Case": "added"}, "InvalidSignatureException"),
        ({"X-Amz-Target": "RekognitionService.DeleteCollection"}, "InvalidSignatureException"),
        ({"X-Amz-Date": "20200101T000000Z"}, "InvalidSignatureException"),
        ({"Authorization": ""}, "MissingAuthenticationTokenException"),
        ({"Authorization": "Bearer pictor_sk_x"}, "IncompleteSignatureException"),
        ({"X-Amz-Security-Token": "x"}, "UnrecognizedClientException"),
    ],
)
def test_what_is_changed_on_its_way_is_refused(ask: Ask, change: dict[str, str], expected: str) -> None:
    found = ask()
    found[1].change = change
    assert refusal(found, "list_collections")[0] == expected


def test_a_changed_body_is_refused(ask: Ask) -> None:
    found = ask()
    found[1].body = b'{"MaxResults": 1}'
    assert refusal(found, "list_collections")[0] == "InvalidSignatureException"


def test_what_an_sdk_would_not_send_is_refused_by_name(ask: Ask) -> None:
    client, wire = ask()
    for members, expected in (
        ({"Nonsense": 1}, "InvalidParameterException"),
        ({"MaxResults": -1}, "InvalidParameterException"),
    ):
        client.meta.events.register(
            "before-call.rekognition.ListCollections",
            lambda params, members=members, **_: params.update(body=json.dumps(members).encode()),
            unique_id="body",
        )
        code, words = refusal((client, wire), "list_collections")
        assert (code, next(iter(members)) in words) == (expected, True)
        client.meta.events.unregister("before-call.rekognition.ListCollections", unique_id="body")


def test_every_other_operation_of_the_model_answers_a_modelled_error(ask: Ask) -> None:
    found = ask()
    model = found[0].meta.service_model
    with_it = {
        name
        for name in model.operation_names
        if "AccessDeniedException" in [shape.name for shape in model.operation_model(name).error_shapes]
    }
    assert with_it == set(model.operation_names)
    code, words = refusal(found, "detect_labels", Image={"Bytes": base64.b64decode("AAAA")})
    assert (code, "DetectLabels" in words) == ("AccessDeniedException", True)


def test_a_caller_over_the_rate_is_told_so_in_the_terms_of_the_model(backend: Backend) -> None:
    made = TestClient(make_app(backend, aws_key=MASTER, per_minute=1), base_url=ORIGIN)
    request = KeyRequest(name="a test's", roles=(KeyRole.SEARCHER,))
    found = aws_client(made, create_key(request, backend.keys, NO_LOG, local_caller()).key.key_id)
    held(found, "list_collections")
    assert found[1].answers[-1].headers["content-type"] == "application/x-amz-json-1.1"
    assert refusal(found, "list_collections")[0] == "ProvisionedThroughputExceededException"


def test_nobody_gets_past_the_signature(backend: Backend, served: TestClient) -> None:
    assert served.post("/rekognition/ListCollections", content=b"{}").status_code == 404
    off = TestClient(make_app(backend), base_url=ORIGIN)
    for path in ("/rekognition", "/rekognition/ListCollections"):
        assert (
            off.post(path, headers={"x-amz-target": "RekognitionService.ListCollections"}).status_code == 404
        )


def test_the_settings_are_off_by_default() -> None:
    assert Settings.model_fields["rekognition"].default == "off"
