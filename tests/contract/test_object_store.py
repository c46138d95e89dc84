"""What every ObjectStore promises, asked of each of them; then what is S3's alone.

The S3 server is whatever AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY name, with a second
user in PICTOR_TEST_S3_ACCESS_KEY2 and PICTOR_TEST_S3_SECRET_KEY2.
"""

import gzip
import hashlib
import io
import logging
import os
import random
import tracemalloc
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import pytest
from minio import Minio
from minio.deleteobjects import DeleteObject

from pipeline.adapters.folder.store import FolderStore
from pipeline.adapters.routed_store import RoutedStore
from pipeline.adapters.s3.config import S3Config, parse_endpoint
from pipeline.adapters.s3.credentials import CredentialSource
from pipeline.adapters.s3.reader import FastReader, reads_with_obstore
from pipeline.adapters.s3.store import S3Store
from pipeline.errors import (
    ConfigError,
    CredentialsError,
    ImageError,
    PictorError,
    TargetError,
    TransientError,
)
from pipeline.ports import ObjectStore, misfit_of
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import ObjectRef, Reason
from tests.conftest import missing
from tests.limit_texts import LETTERS, text_of

MB = 2**20
MAX_S3_KEY_BYTES = 1024
KEYS_IN_ORDER = [
    "B",
    "a-b",
    "a.jpg",
    "a/b",
    "a/b-c",
    "a/c/d",
    "a0",
    "z z+%41&.jpg",
    "é",
    "日本/1",
    "\ufffd",
    "\U0001f600",
]


@pytest.fixture(scope="session")
def s3_config() -> S3Config:
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    endpoint, access_key, secret_key = (os.environ.get(name, "") for name in names)
    if not endpoint:
        missing("no S3 server: AWS_ENDPOINT_URL is not set")
    return S3Config(endpoint=endpoint, access_key=access_key, secret_key=secret_key, timeout_s=10, attempts=2)


@pytest.fixture(scope="session")
def minio(s3_config: S3Config) -> Minio:
    """For what the port cannot do: buckets, metadata."""
    endpoint = parse_endpoint(s3_config.endpoint)
    return Minio(
        endpoint.host,
        s3_config.access_key,
        s3_config.secret_key,
        secure=endpoint.secure,
        region=s3_config.region,
    )


@pytest.fixture(scope="session")
def s3(s3_config: S3Config) -> Iterator[S3Store]:
    store = S3Store(s3_config)
    yield store
    store.close()


@pytest.fixture
def s3_bucket(minio: Minio, s3: S3Store) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex}"
    minio.make_bucket(name)
    yield name
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda ref: s3.delete(name, ref.key), s3.list_objects(name)))
    minio.remove_bucket(name)


@dataclass(frozen=True)
class Place:
    """A store, an empty bucket in it, and the name of one that is not there."""

    store: ObjectStore
    bucket: str
    absent: str

    def put(self, *keys: str, body: bytes = b"x") -> None:
        for key in keys:
            self.store.put(self.bucket, key, body)

    def keys(self, prefix: str = "", start_after: str | None = None) -> list[str]:
        return [ref.key for ref in self.store.list_objects(self.bucket, prefix, start_after)]

    def find(self, key: str) -> ObjectRef:
        return self.store.stat(self.bucket, key)


@pytest.fixture(params=["memory", "folder", "s3", "routed"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    match request.param:
        case "memory":
            return Place(MemoryStore("photos"), "photos", "absent")
        case "folder":
            return Place(FolderStore([tmp_path]), str(tmp_path), str(tmp_path / "absent"))
        case "routed":
            return Place(RoutedStore(folders=FolderStore(), s3=None), str(tmp_path), str(tmp_path / "absent"))
        case _:
            return Place(
                request.getfixturevalue("s3"), request.getfixturevalue("s3_bucket"), "test-never-made"
            )


# --- every store ---


def test_an_empty_bucket_lists_nothing(place: Place) -> None:
    assert place.keys() == []


def test_what_was_put_is_listed_and_read_back(place: Place) -> None:
    body = random.Random(1).randbytes(300_000)
    place.put("cam/a b.jpg", body=body)
    [ref] = place.store.list_objects(place.bucket)
    assert (ref.bucket, ref.key, ref.size_bytes) == (place.bucket, "cam/a b.jpg", 300_000)
    assert place.store.get(ref, max_bytes=MB).body == body
    assert place.find("cam/a b.jpg") == ref


def test_keys_are_listed_in_byte_order(place: Place) -> None:
    place.put(*reversed(KEYS_IN_ORDER))
    assert place.keys() == KEYS_IN_ORDER


@pytest.mark.parametrize("letter", LETTERS.values())
def test_the_longest_keys_of_s3_are_listed_and_read(place: Place, letter: str) -> None:
    keys = [path_of(size_bytes, letter) for size_bytes in (MAX_S3_KEY_BYTES - 1, MAX_S3_KEY_BYTES)]
    place.put(*keys)
    found = list(place.store.list_objects(place.bucket))
    assert [ref.key for ref in found] == sorted(keys, key=str.encode)
    assert all(place.store.get(ref, max_bytes=MB).body for ref in found)
    with pytest.raises(ImageError) as refused:
        place.store.stat(place.bucket, path_of(MAX_S3_KEY_BYTES + 1, letter))
    assert refused.value.reason is Reason.NOT_FOUND


def path_of(size_bytes: int, letter: str) -> str:
    """A key in folders of 200 bytes, since a file's name ends at 255."""
    folder = text_of(200, letter, end="/")
    whole = folder * ((size_bytes - 1) // 200)
    return whole + text_of(size_bytes - len(whole.encode()), letter)


def test_the_most_metadata_of_s3_is_read_whole_and_fits_the_index(
    s3: S3Store, s3_bucket: str, minio: Minio
) -> None:
    metadata: dict[str, str | list[str] | tuple[str]] = {
        "note": "x" * 1900
    }  # of 2 KiB, in which some servers count the names of headers
    minio.put_object(s3_bucket, "a.jpg", io.BytesIO(b"x"), 1, metadata=metadata)
    ref = s3.stat(s3_bucket, "a.jpg")
    found = s3.get(ref, max_bytes=MB).metadata
    assert dict(found) == metadata
    assert misfit_of(ref, found) == ""


@pytest.mark.parametrize("start_after", ["", "a", "a/", "a/b", "a/b!", "a/zzz", "日本", "\U0001f600"])
@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", "none"])
def test_a_listing_starts_after_a_key_and_keeps_to_a_prefix(
    place: Place, prefix: str, start_after: str
) -> None:
    place.put(*KEYS_IN_ORDER)
    expected = [key for key in KEYS_IN_ORDER if key.startswith(prefix) and key > start_after]
    assert place.keys(prefix, start_after) == expected


def test_an_empty_object_is_an_object(place: Place) -> None:
    place.put("empty", body=b"")
    [ref] = place.store.list_objects(place.bucket)
    assert ref.size_bytes == 0
    assert place.store.get(ref, max_bytes=MB).body == b""


def test_metadata_is_that_of_the_version_that_was_named(place: Place) -> None:
    place.put("a/😀 b.jpg", "gone", body=b"first")
    listed, gone = place.find("a/😀 b.jpg"), place.find("gone")
    assert dict(place.store.get_metadata(listed)) == {}
    place.put("a/😀 b.jpg", body=b"second, and longer")
    place.store.delete(place.bucket, "gone")
    for ref, reason in ((listed, Reason.CHANGED), (gone, Reason.NOT_FOUND)):
        with pytest.raises(ImageError) as refused:
            place.store.get_metadata(ref)
        assert refused.value.reason is reason


def test_an_overwritten_object_is_changed_for_who_listed_it_before(place: Place) -> None:
    place.put("a", body=b"old")
    before = place.find("a")
    place.put("a", body=b"newer")
    after = place.find("a")
    assert before.etag != after.etag
    assert_rejected(place.store, before, Reason.CHANGED)
    assert place.store.get(after, max_bytes=MB).body == b"newer"


def test_a_deleted_object_is_not_found(place: Place) -> None:
    place.put("a", "b")
    ref = place.find("a")
    place.store.delete(place.bucket, "a")
    assert_rejected(place.store, ref, Reason.NOT_FOUND)
    assert place.keys() == ["b"]
    with pytest.raises(ImageError) as error:
        place.find("a")
    assert error.value.reason is Reason.NOT_FOUND


def test_delete_is_safe_to_run_twice(place: Place) -> None:
    place.put("a/b")
    for key in ("a/b", "a/b", "never", "never/there", "a"):
        place.store.delete(place.bucket, key)
    assert place.keys() == []


def test_the_limit_of_bytes_is_exact(place: Place) -> None:
    place.put("a", body=b"12345")
    ref = place.find("a")
    assert place.store.get(ref, max_bytes=5).body == b"12345"
    assert_rejected(place.store, ref, Reason.TOO_LARGE, max_bytes=4)


def test_the_limit_holds_whatever_the_listing_said(place: Place) -> None:
    place.put("a", body=b"12345")
    assert_rejected(place.store, replace(place.find("a"), size_bytes=1), Reason.TOO_LARGE, max_bytes=4)


def test_a_bucket_that_is_not_there_is_the_callers_to_mend(place: Place) -> None:
    ref = ObjectRef(bucket=place.absent, key="a", etag="1-1", size_bytes=1)
    for call in (
        lambda: list(place.store.list_objects(place.absent)),
        lambda: place.store.stat(place.absent, "a"),
        lambda: place.store.get(ref, max_bytes=1),
        lambda: place.store.put(place.absent, "a", b"x"),
    ):
        with pytest.raises(TargetError, match=f"{place.absent}.* does not exist"):
            call()


def test_one_store_serves_many_threads(place: Place) -> None:
    bodies = {f"{number:03d}": bytes([number]) * 1000 for number in range(64)}
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: place.put(key, body=bodies[key]), bodies))
        refs = list(place.store.list_objects(place.bucket))
        read = pool.map(lambda ref: place.store.get(ref, max_bytes=MB).body, refs)
        assert dict(zip((ref.key for ref in refs), read, strict=True)) == bodies


def assert_rejected(store: ObjectStore, ref: ObjectRef, reason: Reason, max_bytes: int = MB) -> None:
    with pytest.raises(ImageError) as error:
        store.get(ref, max_bytes=max_bytes)
    assert error.value.reason is reason
    assert error.value.detail


# --- the fake and the router alone ---


def test_the_fake_fails_as_often_as_it_is_told() -> None:
    store = MemoryStore("photos")
    store.put("photos", "a", b"x")
    store.fail_next(TransientError("away"), times=2)
    for _ in range(2):
        with pytest.raises(TransientError):
            store.stat("photos", "a")
    assert store.stat("photos", "a").size_bytes == 1


def test_a_bucket_goes_to_the_store_it_belongs_to() -> None:
    folders, s3 = MemoryStore("/photos"), MemoryStore("photos")
    store = RoutedStore(folders=folders, s3=s3)
    store.put("/photos", "in-folder", b"x")
    store.put("photos", "in-s3", b"x")
    assert [ref.key for ref in folders.list_objects("/photos")] == ["in-folder"]
    assert [ref.key for ref in s3.list_objects("photos")] == ["in-s3"]


def test_a_store_that_is_not_set_up_says_so() -> None:
    with pytest.raises(ConfigError, match="folder /photos: folders cannot be read here"):
        RoutedStore(folders=None, s3=MemoryStore()).stat("/photos", "a")
    with pytest.raises(ConfigError, match="PICTOR_S3_ACCESS_KEY"):
        RoutedStore(folders=MemoryStore(), s3=None).stat("photos", "a")


# --- S3 alone ---

ODD_KEYS = [
    "with space",
    "a+b",
    "&=?#%25",
    "%41",
    "Gr\u00fcn",
    "Gru\u0308n",
    "\U0001f600",
    "single'quote",
    'double"quote',
    "<&>",
    "tab\there",
    "line\nbreak",
    "return\rhere",
    "delete\x7f",
    "back\\slash",
    "a//b.jpg",
    "///",
    "/lead.jpg",
    "trail/",
    "x",
    "x/y",
    "*[]{}|^~;:@$,!()",
    "...",
    "wide\u3000space",
    "\u202ereversed",
    "\ufffe\U0010ffff",
    "k" * 1024,
    "\u732b" * 341,
    "d/" * 200 + "x",
]


def test_every_legal_key_comes_back_whole(s3: S3Store, s3_bucket: str) -> None:
    bodies = {key: hashlib.sha256(key.encode()).digest() for key in [*ODD_KEYS, "lead.jpg", "trail"]}
    for key, body in bodies.items():
        s3.put(s3_bucket, key, body)
    refs = list(s3.list_objects(s3_bucket))
    assert [ref.key for ref in refs] == sorted(bodies, key=str.encode)
    assert {ref.key: s3.get(ref, max_bytes=MB).body for ref in refs} == bodies
    assert [s3.stat(s3_bucket, ref.key) for ref in refs] == refs
    assert [ref.key for ref in s3.list_objects(s3_bucket, start_after="tab\there")] == [
        key for key in sorted(bodies, key=str.encode) if key > "tab\there"
    ]


def test_the_fast_reader_reads_each_key_it_is_given(s3: S3Store, s3_bucket: str, s3_config: S3Config) -> None:
    reader = FastReader(s3_config, parse_endpoint(s3_config.endpoint), CredentialSource(s3_config))
    keys = [key for key in ODD_KEYS if reads_with_obstore(key)]
    assert len(keys) > 15
    for key in keys:
        s3.put(s3_bucket, key, key.encode())
        fetched = reader.read(s3.stat(s3_bucket, key), max_bytes=MB)
        assert fetched is not None
        assert fetched.body == key.encode()


def test_both_readers_return_the_stored_bytes_and_the_users_metadata(
    s3: S3Store, s3_bucket: str, minio: Minio
) -> None:
    for key in ("fast", "slow//way"):
        minio.put_object(
            s3_bucket,
            key,
            BytesIO(b"not really gzip"),
            15,
            metadata={"Camera": "7", "Content-Encoding": "gzip", "Cache-Control": "no-cache"},
        )
        fetched = s3.get(s3.stat(s3_bucket, key), max_bytes=MB)
        assert fetched.body == b"not really gzip"
        assert fetched.metadata == s3.get_metadata(s3.stat(s3_bucket, key)) == {"camera": "7"}


@pytest.mark.parametrize("key", ["fast", "slow//way"])
def test_both_readers_unpack_what_the_server_says_is_gzip(
    s3: S3Store, s3_bucket: str, minio: Minio, key: str
) -> None:
    packed = gzip.compress(bytes(5000))
    minio.put_object(
        s3_bucket, key, BytesIO(packed), len(packed), metadata={"Content-Encoding": "gzip", "Camera": "7"}
    )
    ref = s3.stat(s3_bucket, key)
    fetched = s3.get(ref, max_bytes=5000)
    assert (fetched.body, fetched.encoding, fetched.metadata) == (bytes(5000), "gzip", {"camera": "7"})
    with pytest.raises(ImageError, match="too_large: more than the limit of 4999 bytes, unpacked from gzip"):
        s3.get(ref, max_bytes=4999)


@pytest.mark.parametrize("key", ["fast", "slow//way"])
def test_a_read_is_pinned_to_the_listed_version(s3: S3Store, s3_bucket: str, key: str) -> None:
    s3.put(s3_bucket, key, b"first")
    [ref] = s3.list_objects(s3_bucket)
    s3.put(s3_bucket, key, b"other")
    assert_rejected(s3, ref, Reason.CHANGED)
    assert_rejected(s3, replace(ref, etag="0" * 32), Reason.CHANGED)
    assert s3.get(replace(ref, etag=""), max_bytes=MB).body == b"other"


def test_an_object_of_many_parts_is_one_version(s3: S3Store, s3_bucket: str, minio: Minio) -> None:
    body = random.Random(2).randbytes(11 * MB)
    minio.put_object(s3_bucket, "parts", BytesIO(body), len(body), part_size=5 * MB)
    ref = s3.stat(s3_bucket, "parts")
    assert ref.etag.endswith("-3")
    assert s3.get(ref, max_bytes=11 * MB).body == body
    assert_rejected(s3, ref, Reason.TOO_LARGE, max_bytes=11 * MB - 1)


def test_a_large_object_is_put_in_one_piece(s3: S3Store, s3_bucket: str) -> None:
    body = random.Random(3).randbytes(11 * MB)
    s3.put(s3_bucket, "block", body)
    assert s3.stat(s3_bucket, "block").etag == hashlib.md5(body, usedforsecurity=False).hexdigest()


CROWD = sorted(f"cam{number % 7}/{number:05d}.jpg" for number in range(2500))


@pytest.fixture(scope="module")
def crowded_bucket(s3: S3Store, minio: Minio) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex}"
    minio.make_bucket(name)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: s3.put(name, key, b"x"), CROWD))
    yield name
    assert not list(minio.remove_objects(name, map(DeleteObject, CROWD)))
    minio.remove_bucket(name)


def test_2500_keys_are_listed_over_three_pages(s3: S3Store, crowded_bucket: str) -> None:
    assert [ref.key for ref in s3.list_objects(crowded_bucket)] == CROWD
    in_cam6 = [key for key in CROWD if key.startswith("cam6/")]
    assert [ref.key for ref in s3.list_objects(crowded_bucket, "cam6/", in_cam6[9])] == in_cam6[10:]


@pytest.mark.parametrize("start_after", [CROWD[999], CROWD[1000], CROWD[2498], "cam3", "zzz"])
def test_a_listing_of_pages_starts_after_any_key(s3: S3Store, crowded_bucket: str, start_after: str) -> None:
    found = [ref.key for ref in s3.list_objects(crowded_bucket, start_after=start_after)]
    assert found == [key for key in CROWD if key > start_after]


def test_a_listing_holds_one_page_in_memory(s3: S3Store, crowded_bucket: str) -> None:
    one_page = peak_bytes_of_listing(s3, crowded_bucket, start_after=CROWD[1499])
    three_pages = peak_bytes_of_listing(s3, crowded_bucket, start_after="")
    assert three_pages < one_page * 1.5


def peak_bytes_of_listing(store: S3Store, bucket: str, start_after: str) -> int:
    tracemalloc.start()
    try:
        for _ in store.list_objects(bucket, start_after=start_after):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_key_with_a_dot_segment_is_listed_and_fails_alone(s3: S3Store, s3_bucket: str) -> None:
    s3.put(s3_bucket, "good", b"x")
    ref = ObjectRef(bucket=s3_bucket, key="a/../good", etag="0", size_bytes=1)
    assert_rejected(s3, ref, Reason.ACCESS_DENIED)


@pytest.fixture
def second_user(s3_config: S3Config) -> Iterator[S3Store]:
    names = ("PICTOR_TEST_S3_ACCESS_KEY2", "PICTOR_TEST_S3_SECRET_KEY2")
    access_key, secret_key = (os.environ.get(name, "") for name in names)
    if not access_key:
        missing("no second S3 user: PICTOR_TEST_S3_ACCESS_KEY2 is not set")
    store = S3Store(replace(s3_config, access_key=access_key, secret_key=secret_key))
    yield store
    store.close()


def test_a_user_without_rights_may_not_list_and_each_object_is_denied(
    s3: S3Store, s3_bucket: str, second_user: S3Store
) -> None:
    s3.put(s3_bucket, "a", b"x")
    with pytest.raises(TargetError, match=f"bucket '{s3_bucket}' at http.*policy"):
        list(second_user.list_objects(s3_bucket))
    with pytest.raises(TargetError):
        second_user.put(s3_bucket, "b", b"x")
    assert_rejected(second_user, s3.stat(s3_bucket, "a"), Reason.ACCESS_DENIED)
    with pytest.raises(ImageError) as error:
        second_user.stat(s3_bucket, "a")
    assert error.value.reason is Reason.ACCESS_DENIED


@pytest.mark.parametrize("wrong", ["access_key", "secret_key"])
def test_wrong_keys_are_refused_by_every_call_and_never_shown(
    s3: S3Store, s3_bucket: str, s3_config: S3Config, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    s3.put(s3_bucket, "a", b"x")
    ref = s3.stat(s3_bucket, "a")
    secret = "never-to-be-seen-anywhere"
    store = S3Store(replace(s3_config, **{wrong: secret}))  # type: ignore[arg-type]
    seen = [repr(store)]
    for call in (
        lambda: list(store.list_objects(s3_bucket)),
        lambda: store.get(ref, max_bytes=MB),
        lambda: store.stat(s3_bucket, "a"),
        lambda: store.put(s3_bucket, "b", b"x"),
        lambda: store.delete(s3_bucket, "a"),
    ):
        with pytest.raises(CredentialsError, match=rf"bucket '{s3_bucket}' at http.*PICTOR_S3_") as error:
            call()
        seen += [str(error.value), repr(error.value), str(error.value.__cause__)]
    text = "\n".join([*seen, caplog.text])
    assert not any(value in text for value in (secret, s3_config.access_key, s3_config.secret_key))
    store.close()


def test_an_error_of_s3_is_always_one_of_ours(s3: S3Store, s3_bucket: str) -> None:
    for key in ("a\0b", "k" * 1025, "half \ud800 pair"):
        with pytest.raises(PictorError):
            s3.put(s3_bucket, key, b"x")
        with pytest.raises(PictorError):
            s3.get(ObjectRef(bucket=s3_bucket, key=key, etag="0", size_bytes=1), max_bytes=MB)
