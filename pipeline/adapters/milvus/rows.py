"""Rows of a collection to and fro: `IndexRow` and the fields that Milvus keeps."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from pipeline.adapters.milvus.binding import Binding
from pipeline.adapters.milvus.filter import plain_key, stored_key
from pipeline.errors import ConfigError
from pipeline.ports import MAX_ETAG_BYTES, MAX_PATH_BYTES
from pipeline.search.ranking import to_score
from pipeline.types import IndexRow, ObjectRef, SearchHit, Vector

SCALAR_FIELDS = ["id", "bucket", "key", "etag", "width", "height", "size_bytes", "indexed_at", "metadata"]
VERSION_FIELDS = ["id", "bucket", "key", "etag", "size_bytes"]
ALL_FIELDS = [*SCALAR_FIELDS, "embedding"]
TENANT = "default"

MAX_STORED_METADATA_BYTES = 65_000  # Milvus refuses a JSON value above 65,536
NUMPY_TYPES = {"float32": np.float32, "float16": np.float16}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_entity(row: IndexRow, binding: Binding) -> dict[str, Any]:
    """One row as Milvus takes it.

    Raises:
        ConfigError: the vector is of another length than the collection's, or a text is too long to store.
    """
    ref = row.ref
    if row.vector.shape != (binding.dim,):
        raise ConfigError(
            f"collection {binding.name!r} holds vectors of {binding.dim} numbers; "
            f"the row of {ref.key!r} has shape {row.vector.shape}"
        )
    return {
        "id": row.id,
        "image_id": ref.image_id,
        "embedding": row.vector.astype(NUMPY_TYPES[binding.vector_type]),
        "bucket": _bounded("bucket", ref.bucket, MAX_PATH_BYTES),
        "key": _bounded("key", ref.key, MAX_PATH_BYTES),
        "etag": _bounded("etag", ref.etag, MAX_ETAG_BYTES),
        "width": row.width,
        "height": row.height,
        "size_bytes": ref.size_bytes,
        "indexed_at": (row.indexed_at - EPOCH) // MICROSECOND,
        "metadata": _stored_metadata(ref.key, row.metadata),
        "tenant": TENANT,
    }


def entity_bytes(entity: Mapping[str, Any]) -> int:
    """About the bytes that the entity takes on the wire."""
    texts = [
        entity["bucket"],
        entity["key"],
        entity["etag"],
        *entity["metadata"],
        *entity["metadata"].values(),
    ]
    return int(entity["embedding"].nbytes) + 4 * sum(map(len, texts)) + 200  # 4: the longest UTF-8 character


def usual_row_bytes(dim: int) -> int:
    return 4 * dim + 1024


def to_ref(entity: Mapping[str, Any]) -> ObjectRef:
    return ObjectRef(
        bucket=entity["bucket"], key=entity["key"], etag=entity["etag"], size_bytes=entity["size_bytes"]
    )


def to_row(entity: Mapping[str, Any]) -> IndexRow:
    return IndexRow(
        id=entity["id"],
        ref=to_ref(entity),
        vector=_to_vector(entity["embedding"]),
        width=entity["width"],
        height=entity["height"],
        indexed_at=EPOCH + entity["indexed_at"] * MICROSECOND,
        metadata=_plain_metadata(entity["metadata"]),
    )


def to_hit(entity: Mapping[str, Any], cosine: float) -> SearchHit:
    return SearchHit(
        id=entity["id"],
        bucket=entity["bucket"],
        key=entity["key"],
        etag=entity["etag"],
        score=to_score(cosine),
        width=entity["width"],
        height=entity["height"],
        size_bytes=entity["size_bytes"],
        indexed_at=EPOCH + entity["indexed_at"] * MICROSECOND,
        metadata=_plain_metadata(entity["metadata"]),
    )


def _bounded(field: str, text: str, max_bytes: int) -> str:
    size = len(text.encode())
    if size > max_bytes:
        raise ConfigError(f"{field} {text!r:.60}… has {size} bytes; the index holds at most {max_bytes}")
    return text


def _stored_metadata(key: str, metadata: Mapping[str, str]) -> dict[str, str]:
    stored = {stored_key(name): text for name, text in metadata.items()}
    size = len(json.dumps(stored))  # escaped to ASCII, as it travels: the longest form
    if size > MAX_STORED_METADATA_BYTES:
        raise ConfigError(
            f"{key!r}: metadata of {size} bytes; the index holds at most {MAX_STORED_METADATA_BYTES}"
        )
    return stored


def _plain_metadata(stored: Any) -> dict[str, str]:
    fields = json.loads(stored) if isinstance(stored, str | bytes) else stored
    return {plain_key(name): str(text) for name, text in (fields or {}).items()}


def _to_vector(value: Any) -> Vector:
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        value = value[0]  # a float16 vector arrives as one piece of raw bytes
    if isinstance(value, bytes):
        return np.frombuffer(value, dtype=np.float16).astype(np.float32)
    return np.asarray(value, dtype=np.float32)
