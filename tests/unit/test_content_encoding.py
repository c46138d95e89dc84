"""Objects that a store holds compressed."""

import gzip

import pytest

from pipeline.adapters.s3.content_encoding import undo_encoding
from pipeline.errors import ImageError
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.prepare import prepare_all
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import FetchedObject, ObjectRef, Reason, Rejected
from tests.unit.fakes import BUCKET, CONCURRENCY, LIMITS, RED, SPEC, png

PNG = png(RED)
MB = 2**20


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", "aws-chunked, gzip", " gzip "])
def test_gzip_is_unpacked_where_the_store_says_so(encoding: str) -> None:
    assert undo_encoding(gzip.compress(PNG), encoding, max_bytes=MB) == PNG


@pytest.mark.parametrize("encoding", ["", "identity", "aws-chunked", "utf-8", "br"])
def test_nothing_else_is_unpacked(encoding: str) -> None:
    packed = gzip.compress(PNG)
    assert undo_encoding(packed, encoding, max_bytes=MB) == packed


def test_a_body_that_is_not_compressed_is_left_as_it_is_whatever_is_said() -> None:
    assert undo_encoding(PNG, "gzip", max_bytes=MB) == PNG
    assert undo_encoding(b"", "gzip", max_bytes=MB) == b""


def test_members_one_behind_the_other_are_one_object() -> None:
    packed = gzip.compress(PNG[:50]) + gzip.compress(PNG[50:]) + b"\0\0"
    assert undo_encoding(packed, "gzip", max_bytes=MB) == PNG


def refused(packed: bytes, max_bytes: int = MB) -> tuple[Reason, str]:
    with pytest.raises(ImageError) as caught:
        undo_encoding(packed, "gzip", max_bytes=max_bytes)
    return caught.value.reason, caught.value.detail


def test_the_limit_is_of_the_unpacked_bytes_and_exact() -> None:
    assert undo_encoding(gzip.compress(bytes(1000)), "gzip", max_bytes=1000) == bytes(1000)
    expected = (Reason.TOO_LARGE, "more than the limit of 999 bytes, unpacked from gzip")
    assert refused(gzip.compress(bytes(1000)), 999) == expected
    assert refused(gzip.compress(bytes(600)) + gzip.compress(bytes(400)), 999) == expected


def test_damaged_and_cut_data_have_their_reasons() -> None:
    packed = gzip.compress(PNG)
    assert refused(packed[:-9])[0] is Reason.TRUNCATED
    assert refused(packed[:4])[0] is Reason.TRUNCATED
    assert refused(packed[:20] + b"\xff" * 20 + packed[40:])[0] is Reason.DECODE_ERROR
    assert refused(gzip.compress(b"") * 100) == (
        Reason.DECODE_ERROR,
        "stored with gzip, in more than 64 parts",
    )


class OneObject(MemoryStore):
    """Holds one body, of an encoding that its store left as it is."""

    def __init__(self, body: bytes, encoding: str) -> None:
        super().__init__(BUCKET)
        self._fetched = FetchedObject(body=body, encoding=encoding)

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        return self._fetched


@pytest.mark.parametrize(
    ("body", "encoding", "detail"),
    [
        (gzip.compress(PNG), "", "{} bytes that are gzip-compressed data"),
        (
            b"\x8b\2\x80",
            "br",
            "{} bytes without the signature of an image format, stored with Content-Encoding 'br'",
        ),
    ],
)
def test_a_compressed_object_that_is_not_unpacked_is_said_to_be_one(
    body: bytes, encoding: str, detail: str
) -> None:
    ref = ObjectRef(bucket=BUCKET, key="a.png", etag="e", size_bytes=len(body))
    store = OneObject(body, encoding)
    [outcome] = prepare_all([ref], store, SPEC.preprocessing, LIMITS, PhaseClock(), concurrency=CONCURRENCY)
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.detail) == (Reason.NOT_AN_IMAGE, detail.format(len(body)))
