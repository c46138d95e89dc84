"""Histories by the hundred in memory, and by the dozen with a real S3 server and Milvus Lite."""

import random
import secrets
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import pytest
from minio import Minio

from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.adapters.milvus.index import MilvusIndex
from pipeline.adapters.s3.config import S3Config, parse_endpoint
from pipeline.adapters.s3.store import S3Store
from pipeline.ports import Deps
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from tests.histories import World, live_through
from tests.services import S3Server
from tests.unit.fakes import BUCKET, LIMITS, SPEC, FakeEmbedder, distinct_png, request_of

FIRST_SEED = 1000  # others than those of the unit tier
IN_MEMORY, AT_ONCE = 270, 10
ON_SERVERS = 30


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlLedger]:
    with open_ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db") as ledger:
        yield ledger


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusIndex]:
    with MilvusIndex(str(tmp_path_factory.mktemp("lite") / "milvus.db")) as index:
        yield index


@pytest.mark.repeat  # the unit tier has thirty others
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + IN_MEMORY, AT_ONCE))
def test_histories_in_memory_end_with_index_book_and_bucket_as_one(first: int, ledger: SqlLedger) -> None:
    for seed in range(first, first + AT_ONCE):
        store, collection = MemoryStore(BUCKET), f"memory{seed}"
        deps = Deps(store=store, index=MemoryIndex(), embedder=FakeEmbedder(), ledger=ledger)
        deps.index.create_collection(collection, SPEC)
        world = World(
            real=deps,
            bucket=BUCKET,
            request=replace(request_of(batch_items=2), collection=collection, max_delete_share=1.0),
            limits=LIMITS,
            picture=distinct_png,
            put=store.put,
            rng=random.Random(seed),
        )
        try:
            live_through(world)
        except BaseException as err:
            err.add_note(f"history {seed}")
            raise


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + ON_SERVERS))
def test_a_history_on_s3_and_milvus_ends_with_index_book_and_bucket_as_one(
    seed: int, s3_server: S3Server, ledger: SqlLedger, milvus: MilvusIndex
) -> None:
    config = S3Config(
        endpoint=s3_server.endpoint, access_key=s3_server.access_key, secret_key=s3_server.secret_key
    )
    store, bucket, collection = S3Store(config), f"t{secrets.token_hex(6)}", f"s3_{seed}"
    store.make_bucket(bucket)
    milvus.create_collection(collection, SPEC)
    request = request_of(bucket=bucket, batch_items=2)
    live_through(
        World(
            real=Deps(store=store, index=milvus, embedder=FakeEmbedder(), ledger=ledger),
            bucket=bucket,
            request=replace(request, collection=collection, max_delete_share=1.0),
            limits=LIMITS,
            picture=distinct_png,
            put=Writer(config),
            rng=random.Random(seed),
        )
    )
    for ref in list(store.list_objects(bucket)):
        store.delete(bucket, ref.key)
    store.close()
    milvus.drop_collection(collection)


class Writer:
    """Puts objects with metadata, which is not for Pictor to do."""

    def __init__(self, config: S3Config) -> None:
        endpoint = parse_endpoint(config.endpoint)
        self._client = Minio(
            endpoint.host,
            access_key=config.access_key,
            secret_key=config.secret_key,
            secure=endpoint.secure,
            region=config.region,
        )

    def __call__(self, bucket: str, key: str, body: bytes, metadata: dict[str, str]) -> None:
        self._client.put_object(bucket, key, BytesIO(body), len(body), metadata=dict(metadata))
