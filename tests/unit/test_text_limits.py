"""Texts at each limit of index, ledger, broker and store: what is over it costs its own image and no job."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from amqp import Message as AmqpMessage
from celery import Celery
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.adapters.folder.store import FolderStore
from pipeline.adapters.milvus.binding import Binding
from pipeline.adapters.milvus.rows import to_entity, to_row
from pipeline.embedded import DriverOptions, run_job
from pipeline.ingest.block import pack_block, unpack_block
from pipeline.ingest.handle import handle_embed, handle_prepare
from pipeline.ingest.message import encode_batch
from pipeline.ingest.staging import MAX_BLOCK_BYTES
from pipeline.ports import MAX_ETAG_BYTES, MAX_METADATA_BYTES, MAX_PATH_BYTES, Deps, misfit_of
from pipeline.service.submit import open_job
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    EmbedBatch,
    FetchedObject,
    IndexRow,
    Job,
    JobState,
    ObjectRef,
    Prepared,
    PreparedBatch,
    Reason,
    Verdict,
    View,
    generation_of,
)
from tests.histories import check_adds_up
from tests.index_rows import ids_in
from tests.limit_texts import LETTERS, text_of
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    HERE,
    LIMITS,
    SPEC,
    TARGET,
    distinct_png,
    failed_reasons,
    indexed_keys,
    plan_one_batch,
    ref_of,
    request_of,
)
from tests.unit.memory_broker import MemoryBroker
from workers.broker.publish import Publisher
from workers.broker.queue_names import PUBLIC_QUEUES
from workers.client import PictorClient

GENERATION = generation_of(COLLECTION, SPEC.fingerprint)
FRAME_BYTES = 128 * 2**10  # RabbitMQ: properties and headers of a message are one frame
SETTINGS = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
LETTER = st.sampled_from(list(LETTERS.values()))
BESIDE = st.integers(-2, 2)
BINDING = Binding(
    schema_version=1,
    name=COLLECTION,
    model_name=SPEC.name,
    model_source=SPEC.address,
    fingerprint=SPEC.fingerprint,
    dim=SPEC.dim,
    vector_type="float32",
)


class EtagStore(MemoryStore):
    """Of servers that give ETags of their own making."""

    def __init__(self) -> None:
        super().__init__(BUCKET)
        self.etags: dict[str, str] = {}

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        for ref in super().list_objects(bucket, prefix, start_after):
            yield replace(ref, etag=self.etags.get(ref.key, ref.etag))

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        return super().get(replace(ref, etag=self.stat(ref.bucket, ref.key).etag), max_bytes=max_bytes)


def ingest(deps: Deps, bucket: str = BUCKET) -> Job:
    job, _ = open_job(request_of(bucket=bucket, batch_items=4), deps, driver=HERE)
    return run_job(job, deps, LIMITS, DriverOptions(retry_delays_s=()), on_progress=check_adds_up)


def ingest_beside_good_ones(
    deps: Deps, key: str, *, etag: str = "", metadata: Mapping[str, str] | None = None
) -> Reason | None:
    """What becomes of one object between two others, which are indexed in any case. None: it is indexed."""
    index, store = MemoryIndex(), EtagStore()
    index.create_collection(COLLECTION, SPEC)
    good = [f"{distinct}.png" for distinct in (1, 2)]
    for number, name in enumerate(good):
        store.put(BUCKET, name, distinct_png(number))
    store.put(BUCKET, key, distinct_png(3), metadata=metadata)
    if etag:
        store.etags[key] = etag
    deps.ledger.book.forget_generation(GENERATION)
    deps = replace(deps, index=index, store=store)
    job = ingest(deps)
    assert (job.state, job.error) == (JobState.COMPLETED, "")
    assert set(good) <= set(indexed_keys(deps)) <= {*good, key}
    reason = failed_reasons(deps, job.job_id).get(key)
    assert (reason is None) == (key in indexed_keys(deps))
    return reason


@SETTINGS
@given(letter=LETTER, beside=BESIDE)
@example(letter="日", beside=0)
@example(letter="日", beside=1)
def test_a_key_may_have_so_many_bytes(deps: Deps, letter: str, beside: int) -> None:
    key = text_of(MAX_PATH_BYTES + beside, letter, start="z/", end=".png")
    assert ingest_beside_good_ones(deps, key) == (Reason.TOO_LARGE if beside > 0 else None)


@SETTINGS
@given(letter=LETTER, beside=BESIDE)
@example(letter="k", beside=0)
@example(letter="k", beside=1)
def test_an_etag_may_have_so_many_bytes(deps: Deps, letter: str, beside: int) -> None:
    etag = text_of(MAX_ETAG_BYTES + beside, letter)
    assert ingest_beside_good_ones(deps, "z.png", etag=etag) == (Reason.TOO_LARGE if beside > 0 else None)


@SETTINGS
@given(letter=LETTER, beside=BESIDE, in_name=st.booleans())
@example(letter="é", beside=0, in_name=True)
@example(letter="é", beside=1, in_name=False)
def test_metadata_may_have_so_many_bytes_as_json(deps: Deps, letter: str, beside: int, in_name: bool) -> None:
    empty = len('{"": ""}')
    count, rest = divmod(MAX_METADATA_BYTES + beside - empty, {1: 1, 2: 6, 3: 6, 4: 12}[len(letter.encode())])
    text = letter * count + "a" * rest
    metadata = {text: ""} if in_name else {"": text}
    reason = ingest_beside_good_ones(deps, "z.png", metadata=metadata)
    assert reason == (Reason.TOO_LARGE if beside > 0 else None)


# Staged: every text goes through a message, a block and another message before it is a row.

STAGING = "staging"
STAGED_LETTERS = (*LETTERS.values(), " ", '"')  # one that a row escapes, and one that JSON does, too


def row_after_staging(deps: Deps, key: str, metadata: Mapping[str, str]) -> IndexRow | Reason:
    """What becomes of one object between two others, whose pictures pass from one worker to another."""
    index, store = MemoryIndex(), MemoryStore(BUCKET, STAGING)
    index.create_collection(COLLECTION, SPEC)
    for number, name in enumerate(("1.png", "2.png")):
        store.put(BUCKET, name, distinct_png(number))
    store.put(BUCKET, key, distinct_png(3), metadata=metadata)
    deps.ledger.book.forget_generation(GENERATION)
    deps = replace(deps, index=index, store=store, staging_bucket=STAGING)
    batch = plan_one_batch(deps)
    staged = handle_prepare(encode_batch(batch), deps, LIMITS).forward
    assert staged is not None
    for ref in batch.refs:
        store.delete(BUCKET, ref.key)  # all that is written comes from the block
    assert handle_embed(encode_batch(staged), deps, LIMITS).verdict is Verdict.ACK
    assert list(store.list_objects(STAGING)) == []
    assert deps.ledger.get_job(batch.job_id).state is JobState.COMPLETED
    rows = {row.ref.key: row for row in index.get_rows(TARGET, ids_in(index, TARGET))}
    assert {"1.png", "2.png"} <= rows.keys()
    assert rows.keys() | failed_reasons(deps, batch.job_id).keys() == {"1.png", "2.png", key}
    return rows.get(key) or failed_reasons(deps, batch.job_id)[key]


@SETTINGS
@given(letter=st.sampled_from(STAGED_LETTERS), beside=BESIDE, in_name=st.booleans())
@example(letter="\U0001f600", beside=0, in_name=True)
@example(letter="\U0001f600", beside=1, in_name=False)
@example(letter=" ", beside=0, in_name=True)
def test_metadata_at_its_limit_passes_through_a_block_into_a_row_of_the_index(
    deps: Deps, letter: str, beside: int, in_name: bool
) -> None:
    room = MAX_METADATA_BYTES + beside - len(json.dumps({"": ""}))
    count, rest = divmod(room, len(json.dumps(letter)) - 2)
    text = letter * count + "a" * rest
    metadata = {text: ""} if in_name else {"": text}
    row = row_after_staging(deps, "z.png", metadata)
    if beside > 0:
        assert row is Reason.TOO_LARGE
        return
    assert isinstance(row, IndexRow)
    assert dict(row.metadata) == metadata
    assert to_row(to_entity(row, BINDING)).metadata == metadata


@SETTINGS
@given(letter=st.sampled_from(STAGED_LETTERS), beside=BESIDE)
@example(letter="\U0001f600", beside=0)
@example(letter="\U0001f600", beside=1)
def test_a_key_at_its_limit_passes_through_a_block_into_a_row_of_the_index(
    deps: Deps, letter: str, beside: int
) -> None:
    key = text_of(MAX_PATH_BYTES + beside, letter, start="z/", end=".png")
    row = row_after_staging(deps, key, {})
    if beside > 0:
        assert row is Reason.TOO_LARGE
        return
    assert isinstance(row, IndexRow)
    assert row.ref.key == key
    assert to_row(to_entity(row, BINDING)).ref.key == key


@pytest.mark.parametrize("letter", STAGED_LETTERS)
def test_a_block_of_the_longest_texts_is_what_was_packed(letter: str) -> None:
    """Every object of the largest batch has metadata at the limit: 20 MB of texts before the pixels."""
    refs = tuple(ref_of(f"{number:04d}{letter * 250}") for number in range(1000))
    text = letter * ((MAX_METADATA_BYTES - 20) // (len(json.dumps(letter)) - 2))
    pixels = np.zeros((3, 4, 4), dtype=np.uint8)
    made = [
        Prepared(ref=ref, views=(View(pixels=pixels),), width=5, height=7, metadata={"": text})
        for ref in refs
    ]
    batch = EmbedBatch(
        job_id="j" * 100, path="00000000", collection="c" * 255, fingerprint=SPEC.fingerprint, refs=refs
    )
    body = pack_block(batch, PreparedBatch(outcomes=tuple(made), stored={}))
    assert len(body) < MAX_BLOCK_BYTES / 8
    unpacked = unpack_block(batch, body).outcomes
    assert [(outcome.ref, outcome.metadata) for outcome in unpacked if isinstance(outcome, Prepared)] == [
        (ref, {"": text}) for ref in refs
    ]


@pytest.mark.parametrize("text", ["a\0b", "\ud800"], ids=["NUL", "half a pair"])
def test_metadata_that_no_database_keeps_costs_its_own_image(deps: Deps, text: str) -> None:
    assert ingest_beside_good_ones(deps, "z.png", metadata={"note": text}) is Reason.TOO_LARGE
    assert ingest_beside_good_ones(deps, "z.png", metadata={text: "note"}) is Reason.TOO_LARGE


def test_the_words_have_the_size_and_the_limit() -> None:
    assert misfit_of(ref_of("é" * 2049), {}) == "a key of 4098 bytes is over the limit of 4096"
    assert (
        misfit_of(ref_of(bucket="/" + "b" * 4096), {}) == "a bucket of 4097 bytes is over the limit of 4096"
    )
    assert misfit_of(ref_of(etag="e" * 513), {}) == "an ETag of 513 bytes is over the limit of 512"
    assert misfit_of(ref_of(), {"a": "b" * 20_000}).startswith("user metadata of 200")


def test_a_file_at_the_end_of_a_path_that_is_too_long_costs_itself(deps: Deps, tmp_path: Path) -> None:
    """A path of more than 4,096 bytes cannot be named at once, but made and read step by step."""
    folder, depth, name = tmp_path / "photos", 20, "d" * 250
    folder.mkdir()
    (folder / "a.png").write_bytes(distinct_png(2))
    deepest = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=deepest)
        deeper = os.open(name, os.O_RDONLY, dir_fd=deepest)
        os.close(deepest)
        deepest = deeper
    file = os.open("deep.png", os.O_WRONLY | os.O_CREAT, dir_fd=deepest)
    os.write(file, distinct_png(1))
    os.close(file)
    os.close(deepest)
    job = ingest(replace(deps, store=FolderStore()), bucket=str(folder))
    assert job.state is JobState.COMPLETED
    assert indexed_keys(deps) == ["a.png"]
    assert failed_reasons(deps, job.job_id) == {f"{name}/" * depth + "deep.png": Reason.TOO_LARGE}


def test_a_key_that_no_database_keeps_is_left_out_and_said(
    deps: Deps, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(BUCKET)
    for number, key in enumerate(("a.png", "b\0.png", "c\ud800.png", "d.png")):
        store.put(BUCKET, key, distinct_png(number))
    with caplog.at_level(logging.WARNING):
        job = ingest(replace(deps, store=store))
    assert (job.state, job.counts.failed) == (JobState.COMPLETED, 0)
    assert indexed_keys(deps) == ["a.png", "d.png"]
    left_out = [record for record in caplog.records if record.getMessage().startswith("a key with")]
    assert [record.key for record in left_out] == ["'b\\x00.png'", "'c\\ud800.png'"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("letter", LETTERS.values())
def test_what_is_published_fits_into_the_short_strings_and_frames_of_the_broker(letter: str) -> None:
    """Texts of users are in the body. A longer name or header would end the connection."""
    broker = MemoryBroker()
    client = PictorClient("amqp://user:password@127.0.0.1:1/nowhere")
    client._publisher = Publisher(cast("Celery", broker.app), preparation="inline")
    client.ingest(
        f"s3://shop/{letter * 256}", collection="c" * 255, job_id="j" * 100, include=[letter * 256] * 100
    )
    client.delete("b" * 63, [f"{number}{letter * 250}" for number in range(1000)], collection="c" * 255)
    client._publisher.publish_plan_step("j" * 100, 2**31 - 1, "n" * 100)
    sent = [message for queue in PUBLIC_QUEUES for message in broker.messages_on(queue)]
    assert {message.task for message in sent} == {"pictor.ingest", "pictor.delete", "pictor.plan_job"}
    for message in sent:
        known = {name: value for name, value in message.properties.items() if name in AmqpMessage.PROPERTIES}
        packed = AmqpMessage("", headers=dict(message.headers), **known)._serialize_properties()
        assert len(packed) < FRAME_BYTES / 4
