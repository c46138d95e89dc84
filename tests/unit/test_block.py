"""A block: what was packed is unpacked, and nothing else passes for a block."""

import json
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import MessageError
from pipeline.ingest.block import MAGIC, batch_of_block, block_key, pack_block, unpack_block
from pipeline.types import (
    Box,
    EmbedBatch,
    Embedded,
    FailedAt,
    Prepared,
    PreparedBatch,
    Reason,
    Rejected,
    View,
)
from tests.unit.fakes import COLLECTION, SPEC, ref_of

SIDE = 4
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def batch_of(items: int, path: str = "00000000") -> EmbedBatch:
    refs = tuple(ref_of(f"{number}.jpg") for number in range(items))
    return EmbedBatch(job_id="j", path=path, collection=COLLECTION, fingerprint=SPEC.fingerprint, refs=refs)


@st.composite
def views_drawn(draw: st.DrawFn) -> View:
    """Of the whole image, or of a part of it."""
    pixels = np.full((3, SIDE, SIDE), draw(st.integers(0, 255)), dtype=np.uint8)
    pixels[0, 0, 0] = draw(st.integers(0, 255))
    sides = draw(st.none() | st.tuples(*[st.integers(0, 9000)] * 4))
    box = None if sides is None else Box(left=sides[0], top=sides[1], width=sides[2], height=sides[3])
    return View(pixels=pixels, box=box)


@st.composite
def blocks(draw: st.DrawFn) -> tuple[EmbedBatch, PreparedBatch]:
    """A batch, and any outcomes of some of its objects: the others were unchanged."""
    batch = batch_of(draw(st.integers(1, 8)))
    outcomes: list[Prepared | Rejected] = []
    for ref in batch.refs:
        kind = draw(st.sampled_from(["unchanged", "prepared", "rejected"]))
        if kind == "prepared":
            views = tuple(draw(st.lists(views_drawn(), max_size=3)))
            metadata = draw(st.dictionaries(TEXT, TEXT, max_size=2))
            outcomes.append(Prepared(ref=ref, views=views, width=5, height=7, metadata=metadata))
        if kind == "rejected":
            reason, stage = draw(st.sampled_from(Reason)), draw(st.sampled_from(FailedAt))
            outcomes.append(Rejected(ref=ref, stage=stage, reason=reason, detail=draw(TEXT)))
    ids = st.sampled_from([ref.image_id for ref in batch.refs])
    stored = draw(st.dictionaries(ids, st.integers(1, 100)))
    return batch, PreparedBatch(outcomes=tuple(outcomes), stored=stored, seconds={"fetch": 0.5})


@given(blocks())
@settings(max_examples=60)
def test_what_was_packed_is_unpacked(made: tuple[EmbedBatch, PreparedBatch]) -> None:
    batch, block = made
    found = unpack_block(batch, pack_block(batch, block))
    assert (found.stored, dict(found.seconds)) == (block.stored, dict(block.seconds))
    assert [plain(outcome) for outcome in found.outcomes] == [plain(outcome) for outcome in block.outcomes]


def plain(outcome: Prepared | Embedded | Rejected) -> object:
    """Something that can be compared: arrays cannot."""
    if isinstance(outcome, Rejected):
        return outcome
    assert isinstance(outcome, Prepared)
    views = [(view.pixels.tolist(), view.box) for view in outcome.views]
    return (outcome.ref, views, outcome.width, outcome.height, dict(outcome.metadata))


def a_block() -> tuple[EmbedBatch, bytes]:
    batch = batch_of(3)
    pixels = np.zeros((3, SIDE, SIDE), dtype=np.uint8)
    outcomes = (
        Prepared(ref=batch.refs[0], views=(View(pixels=pixels),), width=1, height=1),
        Prepared(ref=batch.refs[2], views=(View(pixels=pixels),), width=1, height=1),
    )
    return batch, pack_block(batch, PreparedBatch(outcomes=outcomes, stored={}, seconds={}))


@given(st.data())
@settings(max_examples=60)
def test_a_block_that_is_cut_anywhere_is_refused(data: st.DataObject) -> None:
    batch, body = a_block()
    with pytest.raises(MessageError):
        unpack_block(batch, body[: data.draw(st.integers(0, len(body) - 1))])


@given(st.data())
@settings(max_examples=200)
def test_a_block_with_changed_bytes_is_refused_or_read_but_never_anything_else(data: st.DataObject) -> None:
    batch, body = a_block()
    changed = bytearray(body)
    for place in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=4)):
        changed[place] = data.draw(st.integers(0, 255))
    with suppress(MessageError):
        unpack_block(batch, bytes(changed))


def with_header(body: bytes, **changes: object) -> bytes:
    (length,) = struct.unpack("<I", body[len(MAGIC) : len(MAGIC) + 4])
    start = len(MAGIC) + 4
    text = json.dumps(json.loads(body[start : start + length]) | changes).encode()
    return MAGIC + struct.pack("<I", len(text)) + text + body[start + length :]


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 1},
        {"n": -2},
        {"side": -4},
        {"n": 10**30},
        {"n": "two"},
        {"outcomes": [[0, 1, 1, {}]]},
        {"outcomes": [[0, 1, 1, {}], [0, 1, 1, {}]]},
        {"outcomes": [[0, 1, 1, {}], [-1, 1, 1, {}]]},
        {"outcomes": [[0, 1, 1, {}], [3, 1, 1, {}]]},
        {"outcomes": [[0, 1, 1, {}], [1, 1, 1, {}], [2, 1, 1, {}]]},
        {"outcomes": [[0, 1, 1, {}], [2, "decode", "no such reason", ""]]},
        {"outcomes": [[0, 1, 1, {}], []]},
        {"outcomes": 5},
        {"stored": None},
        {"seconds": [1]},
        {"batch": 5},
        {"reused": -1},
        {"reused": 3},
        {"reused": "two"},
        {"outcomes": [[0, 1, 1, {}, [None] * 101], [2, 1, 1, {}]]},
        {"outcomes": [[0, 1, 1, {}, [None, None]], [2, 1, 1, {}]]},
        {"outcomes": [[0, 1, 1, {}, []], [2, 1, 1, {}]]},
        {"outcomes": [[0, 1, 1, {}, [[1, 2, 3]]], [2, 1, 1, {}]]},
        {"outcomes": [[0, 1, 1, {}, [None], 1], [2, 1, 1, {}]]},
        {"rows": [1]},
        {"rows": {"x": -1}},
        {"rows": {"x": 101}},
        {"rows": {"x": True}},
        {"outcomes": [[0, 1, 1, {}, [[1, 2, 3, -1]]], [2, 1, 1, {}]]},
        {"reused": True},
        {"seconds": {"fetch": "1"}},
        {"seconds": {"fetch": float("nan")}},
        {"seconds": {"fetch": float("inf")}},
        {"seconds": {"fetch": -1}},
        {"seconds": {"fetch": True}},
        {"outcomes": [[False, 1, 1, {}], [2, 1, 1, {}]]},
        {"outcomes": [[0, 2**31, 1, {}], [2, 1, 1, {}]]},
        {"outcomes": [[0, 1, -1, {}], [2, 1, 1, {}]]},
        {"outcomes": [[0, True, 1, {}], [2, 1, 1, {}]]},
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_is_refused(changes: dict[str, object]) -> None:
    batch, body = a_block()
    unpack_block(batch, with_header(body))
    with pytest.raises(MessageError, match="j/00000000"):
        unpack_block(batch, with_header(body, **changes))


@pytest.mark.parametrize(
    "beside",
    [
        {},
        {"copies": 1},
        {"copies": -2},
        {"copies": True},
        {"copies": "2"},
        {"copies": 10**30},
        {"copies": None},
        {"": 2},
        {"copies": 2, "more": 0.5},
        {"copies": 2, "more": 2},
        ["copies"],
        5,
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_the_models_beside_is_refused(beside: object) -> None:
    batch = batch_of(1)
    small = {"copies": np.ones((3, 2, 2), np.uint8)}
    view = View(pixels=np.zeros((3, SIDE, SIDE), np.uint8), beside=small)
    image = Prepared(ref=batch.refs[0], views=(view,), width=1, height=1)
    body = pack_block(batch, PreparedBatch(outcomes=(image,), stored={}))
    [found] = unpack_block(batch, with_header(body)).outcomes
    assert isinstance(found, Prepared)
    np.testing.assert_array_equal(found.views[0].beside["copies"], small["copies"])
    with pytest.raises(MessageError, match="j/00000000"):
        unpack_block(batch, with_header(body, beside=beside))


def test_a_header_that_counts_more_views_than_there_is_memory_for_is_refused_at_once() -> None:
    batch, body = a_block()
    (length,) = struct.unpack("<I", body[len(MAGIC) : len(MAGIC) + 4])
    without_pixels = body[: len(MAGIC) + 4 + length]
    with pytest.raises(MessageError, match="more images than it names"):
        unpack_block(batch, with_header(without_pixels, n=2**31 - 1, side=0))


def test_a_block_of_another_batch_is_refused_and_both_are_named() -> None:
    _, body = a_block()
    with pytest.raises(MessageError, match="block of batch j/00000001 is one of batch j/00000000"):
        unpack_block(batch_of(3, path="00000001"), body)


def test_a_block_without_a_picture_keeps_its_rejections() -> None:
    batch = batch_of(1)
    gone = Rejected(ref=batch.refs[0], stage=FailedAt.FETCH, reason=Reason.NOT_FOUND, detail="gone")
    block = PreparedBatch(outcomes=(gone,), stored={}, seconds={})
    assert unpack_block(batch, pack_block(batch, block)).outcomes == (gone,)


def test_pixels_are_views_into_the_body_and_not_copies() -> None:
    batch, body = a_block()
    [first, _] = unpack_block(batch, body).outcomes
    assert isinstance(first, Prepared)
    assert not first.views[0].pixels.flags.owndata


def test_an_image_that_is_embedded_already_is_counted_and_needs_no_place() -> None:
    batch = batch_of(2)
    pixels = np.zeros((3, SIDE, SIDE), dtype=np.uint8)
    done = Embedded(ref=batch.refs[0], vectors=(np.ones(3, dtype=np.float32),), width=1, height=1)
    fresh = Prepared(ref=batch.refs[1], views=(View(pixels=pixels),), width=1, height=1)
    made = PreparedBatch(outcomes=(done, fresh), stored={})
    found = unpack_block(batch, pack_block(batch, made))
    assert ([outcome.ref for outcome in found.outcomes], found.reused) == ([fresh.ref], 1)
    assert found.stored == {done.ref.image_id: 1}


def test_the_rows_of_images_that_need_no_place_are_counted() -> None:
    batch = batch_of(3)
    vectors = (np.ones(3, dtype=np.float32),) * 4
    done = Embedded(ref=batch.refs[0], vectors=vectors, width=1, height=1)
    nothing = Prepared(ref=batch.refs[1], views=(), width=1, height=1)
    made = PreparedBatch(outcomes=(done, nothing), stored={batch.refs[2].image_id: 7})
    found = unpack_block(batch, pack_block(batch, made))
    assert (found.stored, found.reused) == ({batch.refs[0].image_id: 4, batch.refs[2].image_id: 7}, 1)
    assert found.outcomes == (nothing,)


def test_a_block_of_whole_images_is_what_it_was() -> None:
    """Read and written by workers of the version before, beside this one."""
    batch, body = a_block()
    (length,) = struct.unpack("<I", body[len(MAGIC) : len(MAGIC) + 4])
    start = len(MAGIC) + 4
    header = json.loads(body[start : start + length])
    assert header == {
        "batch": "j/00000000",
        "n": 2,
        "side": SIDE,
        "stored": [],
        "seconds": {},
        "outcomes": [[0, 1, 1, {}], [2, 1, 1, {}]],
    }
    assert body[start + length :] == bytes(2 * 3 * SIDE * SIDE)
    first, second = unpack_block(batch, body).outcomes
    assert isinstance(first, Prepared)
    assert isinstance(second, Prepared)
    assert [view.box for view in (*first.views, *second.views)] == [None, None]


def test_a_blocks_key_names_its_batch_and_other_keys_name_none() -> None:
    assert batch_of_block(block_key("j", "00000012.1")) == ("j", "00000012.1")
    for key in ("readme.txt", "a/b.jpg", ".block", "a.block", ""):
        assert batch_of_block(key) is None
