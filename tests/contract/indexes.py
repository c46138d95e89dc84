"""Vector indexes of each kind, and rows to put into them."""

import os
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.adapters.beside.index import OpenBesideIndex
from pipeline.adapters.milvus.index import LIVE_TTL_S, MilvusIndex
from pipeline.adapters.milvus.lite.index import LiteIndex
from pipeline.types import (
    Capability,
    CollectionRef,
    IndexRow,
    ModelSpec,
    ObjectRef,
    Preprocessing,
    image_id_of,
)
from pipeline.wiring import OpenIndex
from tests.conftest import missing

DIM = 8
BUCKET = "photos"
WHEN = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def open_index(kind: str, tmp_path_factory: pytest.TempPathFactory) -> OpenIndex:
    """As `wiring.open_index` does."""
    if kind == "folder":
        return OpenBesideIndex(LiteIndex(str(tmp_path_factory.mktemp("folder") / "milvus.db")))
    return OpenBesideIndex(open_server())


def open_server(
    token: str | None = None, *, live_ttl_s: float = LIVE_TTL_S, kind: type[MilvusIndex] = MilvusIndex
) -> MilvusIndex:
    """By default with a token that may do everything."""
    uri = os.environ.get("PICTOR_TEST_MILVUS_URI", "")
    if not uri:
        missing("no Milvus server: set PICTOR_TEST_MILVUS_URI")
    return kind(
        uri,
        token=os.environ["PICTOR_TEST_MILVUS_TOKEN"] if token is None else token,
        live_ttl_s=live_ttl_s,
    )


def model(name: str = "first", fingerprint: str = "a1" * 32, dim: int = DIM) -> ModelSpec:
    return ModelSpec(
        name=name,
        address=f"builtin/{name}",
        architecture="none",
        fingerprint=fingerprint,
        dim=dim,
        preprocessing=Preprocessing(resize=8, crop=8, mean=(0, 0, 0), std=(1, 1, 1)),
    )


def views_model() -> ModelSpec:
    """Of a model that looks at parts of an image."""
    return replace(model("faces", "fa" * 32), capabilities=(Capability.IMAGES, Capability.VIEWS))


def ref_of(name: str, fingerprint: str = "a1" * 32) -> CollectionRef:
    return CollectionRef(name=name, fingerprint=fingerprint)


def row(
    key: str,
    vector: NDArray[np.float32] | None = None,
    *,
    bucket: str = BUCKET,
    etag: str = "e1",
    metadata: dict[str, str] | None = None,
    region: str = "",
) -> IndexRow:
    return IndexRow(
        id=image_id_of(bucket, key) + region,
        ref=ObjectRef(bucket=bucket, key=key, etag=etag, size_bytes=len(key)),
        vector=axis(0) if vector is None else vector,
        width=640,
        height=480,
        indexed_at=WHEN,
        metadata=metadata or {},
    )


def axis(place: int) -> NDArray[np.float32]:
    vector = np.zeros(DIM, dtype=np.float32)
    vector[place] = 1
    return vector


def unit(seed: int, count: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
