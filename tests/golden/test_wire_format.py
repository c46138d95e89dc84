"""The bytes between versions of Pictor. A change here breaks queues that are in use: make it version 2."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.ingest.block import pack_block, unpack_block
from pipeline.ingest.message import decode_batch, encode_batch
from pipeline.types import (
    EmbedBatch,
    Embedded,
    FailedAt,
    ObjectRef,
    Prepared,
    PreparedBatch,
    Reason,
    Rejected,
    View,
    image_id_of,
)
from workers.broker.celery_config import ROUTES
from workers.broker.dead_letters import QUEUE_HEADER, REASON_HEADER
from workers.broker.queue_names import consumed_queues
from workers.broker.queue_wait import DUE_HEADER, PATIENCE_HEADER
from workers.delivery import CRASHES_HEADER

HERE = Path(__file__).parent

BATCH = EmbedBatch(
    job_id="20260102T030405-a1b2c3",
    path="00000012",
    collection="images",
    fingerprint="0123456789abcdef" * 4,
    refs=(
        ObjectRef(
            bucket="shop", key="cam1/2024/a.jpg", etag="9e107d9d372bb6826bd81d3542a419d6", size_bytes=91234
        ),
        ObjectRef(
            bucket="shop",
            key='odd/"quoted"\n名 é😀.png',
            etag="d41d8cd98f00b204e9800998ecf8427e-3",
            size_bytes=5 * 2**30,
        ),
        ObjectRef(bucket="shop", key="locked/", etag="", size_bytes=0),
    ),
)
GOLDEN = {
    "embed_batch_v1.json": BATCH,
    "embed_batch_v1_written.json": replace(
        BATCH,
        refs=(
            replace(BATCH.refs[0], modified_ms=1_790_000_000_123),
            BATCH.refs[1],
            replace(BATCH.refs[2], modified_ms=-1),
        ),
        rewritten=frozenset({BATCH.refs[0].key}),
    ),
    "embed_batch_v1_staged.json": replace(BATCH, refs=BATCH.refs[:1], staged=True),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_message_is_these_bytes_and_no_others(name: str) -> None:
    assert encode_batch(GOLDEN[name]) == (HERE / name).read_bytes()


def whole_image(shade: int, *, beside: bool) -> View:
    """With its input for a model of 4 px, and for one of 2 px beside it."""
    small = np.full((3, 2, 2), shade + 1, np.uint8)
    return View(pixels=np.full((3, 4, 4), shade, np.uint8), beside={"copies": small} if beside else {})


def block(*, beside: bool) -> PreparedBatch:
    first, second, locked = BATCH.refs
    views = [(whole_image(shade, beside=beside),) for shade in (10, 20)]
    return PreparedBatch(
        outcomes=(
            Prepared(ref=first, views=views[0], width=640, height=480),
            Prepared(ref=second, views=views[1], width=1, height=2, metadata={"cam": "é"}),
            Rejected(ref=locked, stage=FailedAt.FETCH, reason=Reason.EMPTY, detail="the object has no bytes"),
        ),
        stored={first.image_id: 1},
        seconds={"fetch": 0.5},
    )


BLOCKS = {"staged_block_v1.block": False, "staged_block_v1_beside.block": True}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_staged_block_is_these_bytes_and_no_others(name: str) -> None:
    assert pack_block(BATCH, block(beside=BLOCKS[name])) == (HERE / name).read_bytes()


@pytest.mark.parametrize("name", BLOCKS)
def test_these_bytes_are_this_block(name: str) -> None:
    made, found = block(beside=BLOCKS[name]), unpack_block(BATCH, (HERE / name).read_bytes())
    assert (found.stored, found.seconds) == (made.stored, made.seconds)
    assert [plain(outcome) for outcome in found.outcomes] == [plain(outcome) for outcome in made.outcomes]


def plain(outcome: Prepared | Embedded | Rejected) -> object:
    """Something that can be compared: arrays cannot."""
    if not isinstance(outcome, Prepared):
        return outcome
    [view] = outcome.views
    beside = {name: pixels.tolist() for name, pixels in view.beside.items()}
    return outcome.ref, outcome.width, outcome.height, outcome.metadata, view.pixels.tolist(), beside


@pytest.mark.parametrize("name", GOLDEN)
def test_these_bytes_are_this_message(name: str) -> None:
    batch = decode_batch((HERE / name).read_bytes())
    assert batch == GOLDEN[name]
    assert [ref.modified_ms for ref in batch.refs] == [ref.modified_ms for ref in GOLDEN[name].refs]


def test_the_identity_of_an_object_is_fixed() -> None:
    # Rows of every collection are named by it; SHA-256 of "shop", NUL, key, as `sha256sum` gives it.
    assert image_id_of("shop", "cam1/2024/a.jpg") == "dfd1aa4a17d1c9a9d7a91d0df153c4d6"


def test_tasks_and_their_roles_have_these_names() -> None:
    assert ROUTES == {
        "pictor.ingest": "plan",
        "pictor.delete": "plan",
        "pictor.plan_job": "plan",
        "pictor.prepare_batch": "prepare",
        "pictor.ingest_batch": "prepare",  # of the version before; it is read and not sent
        "pictor.embed_batch": "embed",
        "pictor.search": "search",
        "pictor.job": "search",
    }


def test_tasks_wait_on_these_queues() -> None:
    roles, former = ["plan", "prepare", "embed", "search"], ["ingest", "embed"]
    assert consumed_queues(roles, BATCH.fingerprint, there=former) == [
        *("plan", "search"),
        *("prepare.01234567", "embed.01234567", "search.01234567"),
        *("ingest", "embed"),  # of the version before, where the broker has them
    ]


def test_the_headers_by_which_two_builds_understand_each_other_are_these() -> None:
    assert (CRASHES_HEADER, DUE_HEADER) == ("pictor-faults", "pictor-due-at")
    assert PATIENCE_HEADER == "pictor-patience-s"
    assert (REASON_HEADER, QUEUE_HEADER) == ("x-pictor-reason", "x-pictor-queue")
