"""How a collection looks in Milvus: names, fields, index, the model binding, and rows to and fro.

The model that a collection belongs to is written into the collection itself, so that it is known without
the ledger: as JSON in the description (people see it) and in a property (Milvus Lite drops descriptions).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from pymilvus import CollectionSchema, DataType, MilvusClient
from pymilvus.milvus_client.index import IndexParams

from pipeline.adapters.milvus_filter import plain_key, stored_key
from pipeline.adapters.ranking import to_score
from pipeline.errors import ConfigError
from pipeline.types import CollectionInfo, IndexRow, ModelSpec, ObjectRef, SearchHit, Vector, generation_of

SCHEMA_VERSION = 1
BINDING_PROPERTY = "pictor.binding"
SCALAR_FIELDS = ["id", "bucket", "key", "etag", "width", "height", "size_bytes", "indexed_at", "metadata"]
VERSION_FIELDS = ["id", "bucket", "key", "etag", "size_bytes"]
ALL_FIELDS = [*SCALAR_FIELDS, "embedding"]
METRIC = "COSINE"

# 1 of 64: an upsert, a flush and a search pay for each partition (20,000 rows, 64 partitions: search 16 ms
# instead of 4, flush 11 s instead of 3), and there is one tenant.
PARTITIONS = 1
TENANT = "default"

MAX_PATH_BYTES = 4096  # PATH_MAX of Linux; S3 keys end at 1,024
MAX_ETAG_BYTES = 512
MAX_METADATA_BYTES = 65_000  # Milvus refuses a JSON value above 65,536
NUMPY_TYPES = {"float32": np.float32, "float16": np.float16}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """What a collection says about itself."""

    schema_version: int
    name: str
    model_name: str
    model_source: str
    fingerprint: str
    dim: int
    vector_type: str
    precision: str = "float32"  # collections that do not say are from before there was a choice

    @property
    def physical(self) -> str:
        return generation_of(self.name, self.fingerprint)

    def to_info(self, rows: int) -> CollectionInfo:
        return CollectionInfo(
            name=self.name,
            model_name=self.model_name,
            model_source=self.model_source,
            fingerprint=self.fingerprint,
            dim=self.dim,
            vector_type=self.vector_type,
            precision=self.precision,
            rows=rows,
        )


def bind(name: str, model: ModelSpec, vector_type: str, precision: str) -> Binding:
    return Binding(
        schema_version=SCHEMA_VERSION,
        name=name,
        model_name=model.name,
        model_source=model.source,
        fingerprint=model.fingerprint,
        dim=model.dim,
        vector_type=vector_type,
        precision=precision,
    )


def read_binding(described: Mapping[str, Any]) -> Binding | None:
    """The binding in the answer of describe_collection; None when somebody else made the collection.

    Raises:
        ConfigError: it was made by a newer version, whose rows this one cannot read.
    """
    text = described.get("properties", {}).get(BINDING_PROPERTY) or described.get("description", "")
    try:
        fields = json.loads(text)["pictor"]
        version = int(fields["schema_version"])
    except (ValueError, KeyError, TypeError):
        return None
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"collection {described['collection_name']!r} has schema version {version}; "
            f"this version of Pictor knows {SCHEMA_VERSION}"
        )
    return Binding(**{field: fields[field] for field in Binding.__dataclass_fields__ if field in fields})


def binding_text(binding: Binding) -> str:
    return json.dumps({"pictor": asdict(binding)}, separators=(",", ":"))


def make_schema(binding: Binding) -> CollectionSchema:
    vector = DataType.FLOAT16_VECTOR if binding.vector_type == "float16" else DataType.FLOAT_VECTOR
    schema = MilvusClient.create_schema(
        auto_id=False, enable_dynamic_field=False, description=binding_text(binding)
    )
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("image_id", DataType.VARCHAR, max_length=64)
    schema.add_field("embedding", vector, dim=binding.dim)
    schema.add_field("bucket", DataType.VARCHAR, max_length=MAX_PATH_BYTES)
    schema.add_field("key", DataType.VARCHAR, max_length=MAX_PATH_BYTES)
    schema.add_field("etag", DataType.VARCHAR, max_length=MAX_ETAG_BYTES)
    for name in ("width", "height", "size_bytes", "indexed_at"):
        schema.add_field(name, DataType.INT64)
    schema.add_field("metadata", DataType.JSON)
    schema.add_field("tenant", DataType.VARCHAR, max_length=64, is_partition_key=True)
    return schema


def make_index(*, lite: bool) -> IndexParams:
    """Profile `small`.

    HNSW with M 32 and ef 256 (`search_params`) finds 0.999 of the ten nearest among 30,000 vectors of 64
    independent directions, harder than pictures are; M 16 finds 0.986 and needs ef 512 for the same.

    Milvus Lite compares with every vector: exact, nothing to build, and no slower than its HNSW, because what
    takes the time there is a pass over all ids.
    """
    index = MilvusClient.prepare_index_params()
    if lite:
        index.add_index("embedding", index_type="FLAT", metric_type=METRIC)
    else:
        index.add_index(
            "embedding", index_type="HNSW", metric_type=METRIC, params={"M": 32, "efConstruction": 200}
        )
    return index


def search_params(k: int) -> dict[str, Any]:
    return {"metric_type": METRIC, "params": {"ef": max(256, 2 * k)}}


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
        "indexed_at": (row.indexed_at - _EPOCH) // _MICROSECOND,
        "metadata": _stored_metadata(ref.key, row.metadata),
        "tenant": TENANT,
    }


def entity_bytes(entity: Mapping[str, Any]) -> int:
    """About what the entity takes on the wire."""
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
        indexed_at=_EPOCH + entity["indexed_at"] * _MICROSECOND,
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
        indexed_at=_EPOCH + entity["indexed_at"] * _MICROSECOND,
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
    if size > MAX_METADATA_BYTES:
        raise ConfigError(f"{key!r}: metadata of {size} bytes; the index holds at most {MAX_METADATA_BYTES}")
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
