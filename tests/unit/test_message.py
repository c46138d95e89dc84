"""The wire format: what is written is read again, and nothing else is taken for a message."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import MessageError
from pipeline.ingest.message import MAX_MESSAGE_BYTES, decode_batch, encode_batch
from pipeline.types import EmbedBatch, ObjectRef
from tests.unit.fakes import ref_of

unicode_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
sizes = st.integers(min_value=0, max_value=2**63 - 1)

MESSAGE = {
    "v": 1,
    "type": "embed_batch",
    "job_id": "j",
    "path": "00000000",
    "collection": "images",
    "fingerprint": "f0" * 32,
    "bucket": "photos",
    "objects": [["a.jpg", "e1", 10]],
}
REQUIRED = ["v", "type", "job_id", "path", "collection", "fingerprint", "bucket", "objects"]


def batch_of(*refs: ObjectRef, staged: bool = False) -> EmbedBatch:
    return EmbedBatch(
        job_id="j", path="00000000", collection="images", fingerprint="f0" * 32, refs=refs, staged=staged
    )


def changed(**fields: object) -> bytes:
    return json.dumps({**MESSAGE, **fields}).encode()


@given(bucket=unicode_text, objects=st.lists(st.tuples(unicode_text, unicode_text, sizes), min_size=1))
def test_any_batch_of_legal_keys_is_read_as_it_was_written(
    bucket: str, objects: list[tuple[str, str, int]]
) -> None:
    refs = [
        ObjectRef(bucket=bucket, key=key, etag=etag, size_bytes=size_bytes)
        for key, etag, size_bytes in objects
    ]
    assert decode_batch(encode_batch(batch_of(*refs))) == batch_of(*refs)


@pytest.mark.parametrize(
    "key", ["a\nb.jpg", '"quoted".jpg', "\x00.jpg", "ключ/图.jpg", "😀.jpg", "a\\ud800b.jpg", " ", "../a.jpg"]
)
def test_odd_keys_survive(key: str) -> None:
    [ref] = decode_batch(encode_batch(batch_of(ref_of(key)))).refs
    assert ref.key == key


def test_a_staged_block_is_named_in_the_message() -> None:
    batch = batch_of(ref_of(), staged=True)
    assert decode_batch(encode_batch(batch)) == batch


def test_an_object_without_an_etag_can_be_sent() -> None:
    [ref] = decode_batch(encode_batch(batch_of(ref_of("locked/", etag="", size_bytes=0)))).refs
    assert ref.etag == ""


def test_a_message_holds_objects_of_one_bucket_only() -> None:
    two = batch_of(ref_of(bucket="one"), ref_of(bucket="two"))
    with pytest.raises(MessageError, match="found 2 buckets"):
        encode_batch(two)
    with pytest.raises(MessageError, match="found 0 buckets"):
        encode_batch(batch_of())


def test_fields_of_a_newer_writer_are_ignored() -> None:
    assert decode_batch(changed(priority=3)) == decode_batch(changed())


@pytest.mark.parametrize("name", REQUIRED)
def test_a_message_without_a_field_is_refused_and_the_field_is_named(name: str) -> None:
    fields = {key: value for key, value in MESSAGE.items() if key != name}
    expected = {"v": "version None", "type": "type None"}.get(name, repr(name))
    with pytest.raises(MessageError, match=expected):
        decode_batch(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="half of a message"),
        pytest.param(b"\xff\xfe\x00", id="not UTF-8"),
        pytest.param(json.dumps(MESSAGE).encode("utf-16"), id="UTF-16"),
        pytest.param(b"[1, 2]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[" * 200_000, id="brackets without end"),
        pytest.param(b'{"v": ' + b"9" * 5000 + b"}", id="a number of 5000 digits"),
        pytest.param(b" " * (MAX_MESSAGE_BYTES + 1), id="too long"),
        pytest.param(changed(v=2), id="version 2"),
        pytest.param(changed(v="1"), id="version as text"),
        pytest.param(changed(type="plan_job"), id="another type"),
        pytest.param(changed(job_id=""), id="empty job"),
        pytest.param(changed(path=7), id="number as path"),
        pytest.param(changed(bucket=None), id="null as bucket"),
        pytest.param(changed(block=""), id="empty block"),
        pytest.param(changed(block=["x"]), id="list as block"),
        pytest.param(changed(objects=[]), id="no objects"),
        pytest.param(changed(objects={"a": 1}), id="objects not a list"),
        pytest.param(changed(objects=["a.jpg"]), id="object not a list"),
        pytest.param(changed(objects=[["a.jpg", "e1"]]), id="object too short"),
        pytest.param(changed(objects=[["a.jpg", "e1", 1, 2]]), id="object too long"),
        pytest.param(changed(objects=[["", "e1", 1]]), id="empty key"),
        pytest.param(changed(objects=[["a.jpg", None, 1]]), id="null as etag"),
        pytest.param(changed(objects=[["a.jpg", "e1", "1"]]), id="text as size"),
        pytest.param(changed(objects=[["a.jpg", "e1", True]]), id="true as size"),
        pytest.param(changed(objects=[["a.jpg", "e1", 1.0]]), id="float as size"),
        pytest.param(changed(objects=[["a.jpg", "e1", -1]]), id="negative size"),
        pytest.param(changed(objects=[["a.jpg", "e1", 2**63]]), id="size that no ledger can keep"),
        pytest.param(changed(objects=[["\ud800.jpg", "e1", 1]]), id="half of a surrogate pair in a key"),
        pytest.param(changed(modified=5), id="number as times"),
        pytest.param(changed(modified=[]), id="fewer times than objects"),
        pytest.param(changed(modified=[1, 2]), id="more times than objects"),
        pytest.param(changed(modified=["1"]), id="text as time"),
        pytest.param(changed(modified=[True]), id="true as time"),
        pytest.param(changed(modified=[1.5]), id="float as time"),
        pytest.param(changed(modified=[2**63]), id="time that no ledger can keep"),
        pytest.param(changed(rewritten=0), id="number as places"),
        pytest.param(changed(rewritten=[1]), id="place behind the last object"),
        pytest.param(changed(rewritten=[-1]), id="place before the first object"),
        pytest.param(changed(rewritten=[None]), id="null as place"),
        pytest.param(changed(rewritten=["a.jpg"]), id="key as place"),
        pytest.param(changed(bucket="\udfff"), id="half of a surrogate pair in the bucket"),
    ],
)
def test_a_malformed_message_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError):
        decode_batch(body)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_nothing_worse(body: bytes) -> None:
    with pytest.raises(MessageError):
        decode_batch(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40)  # json_values are slow to draw
@given(name=st.sampled_from([*REQUIRED, "block", "modified", "rewritten"]), value=json_values)
def test_any_value_in_any_field_is_taken_whole_or_refused(name: str, value: object) -> None:
    try:
        batch = decode_batch(changed(**{name: value}))
    except MessageError:
        return
    assert decode_batch(encode_batch(batch)) == batch


@pytest.mark.parametrize("name", ["v", "type", "bucket", "job_id", "objects"])
def test_what_is_refused_does_not_fill_the_log(name: str) -> None:
    long = [["x" * 100_000] * 2] if name == "objects" else ["x" * 100_000]
    with pytest.raises(MessageError) as caught:
        decode_batch(changed(**{name: long}))
    assert len(str(caught.value)) < 300
