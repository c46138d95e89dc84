"""A standalone Milvus is backed up by a copy of its folder, as docs/how-to/operate.md says."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from devstack.milvus import TOKEN, Milvus
from pipeline.adapters.milvus.index import MilvusIndex
from pipeline.adapters.models.builtin_spec import builtin_spec
from pipeline.types import IndexRow, ObjectRef
from tests.index_rows import put
from tests.services import own_service

pytestmark = pytest.mark.slow

NAME = "photos"
IDS = [f"{number:032x}" for number in range(20)]


def row(image_id: str) -> IndexRow:
    vector = np.zeros(builtin_spec().dim, np.float32)
    vector[int(image_id, 16)] = 1
    ref = ObjectRef(bucket="shop", key=f"{image_id}.jpg", etag="e1", size_bytes=1)
    return IndexRow(
        id=image_id, ref=ref, vector=vector, width=8, height=8, indexed_at=datetime(2026, 1, 2, tzinfo=UTC)
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Milvus]:
    with own_service(Milvus, tmp_path) as service:
        yield service


def test_a_copy_of_a_stopped_server_s_folder_brings_everything_back(server: Milvus, tmp_path: Path) -> None:
    with closing(MilvusIndex(server.uri, token=TOKEN)) as index:
        live = index.create_collection(NAME, builtin_spec()).ref
        put(index, live, [row(image_id) for image_id in IDS])
        before = index.get_rows(live, IDS)

    server.stop()
    shutil.copytree(server.home / "data", tmp_path / "backup")
    server.start()

    with closing(MilvusIndex(server.uri, token=TOKEN)) as index:
        index.drop_collection(NAME)
        assert index.list_collections() == []

    server.stop()
    shutil.rmtree(server.home / "data")
    shutil.copytree(tmp_path / "backup", server.home / "data")
    server.start()

    with closing(MilvusIndex(server.uri, token=TOKEN)) as index:
        info = index.create_collection(NAME, builtin_spec())  # it is there, and bound to the same model
        assert info.rows == len(IDS)
        after = index.get_rows(live, IDS)
        assert [kept.id for kept in after] == [kept.id for kept in before]
        assert all(np.array_equal(a.vector, b.vector) for a, b in zip(after, before, strict=True))
        ((best,),) = index.search(live, row(IDS[3]).vector[None], k=1)
        assert best.id == IDS[3]
