"""Rows as Milvus Lite logs them: one Arrow batch, its vectors never a Python object each."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from milvus_lite.constants import DEFAULT_NUM_PARTITIONS, PARTITION_KEY_BUCKET_PREFIX

from pipeline.adapters.milvus.rows import TENANT

# Where Milvus Lite puts rows of this partition key.
_BUCKET = int(hashlib.md5(TENANT.encode(), usedforsecurity=False).hexdigest(), 16) % DEFAULT_NUM_PARTITIONS
PARTITION = f"{PARTITION_KEY_BUCKET_PREFIX}{_BUCKET}"


def to_batch(entities: Sequence[Mapping[str, Any]], schema: Any, first_number: int) -> Any:
    """A batch of Milvus Lite's log.

    Args:
        entities: rows as Milvus keeps them.
        schema: of the log, an Arrow schema.
        first_number: the sequence number of the first row.
    """
    columns = [_column(entities, field, first_number) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(entities: Sequence[Mapping[str, Any]], field: Any, first_number: int) -> Any:
    match field.name:
        case "_seq":
            return pa.array(range(first_number, first_number + len(entities)), type=field.type)
        case "_partition":
            return pa.array([PARTITION] * len(entities), type=field.type)
        case "embedding":
            numbers = np.concatenate([entity["embedding"] for entity in entities])
            return pa.FixedSizeListArray.from_arrays(pa.array(numbers), type=field.type)
        case "metadata":
            texts = [json.dumps(entity["metadata"], ensure_ascii=False) for entity in entities]
            return pa.array(texts, type=field.type)
        case name:
            return pa.array([entity[name] for entity in entities], type=field.type)
