"""`SearchFilter` over the columns of a copy: exactly the rows that it describes."""

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.milvus.filter import to_expression
from pipeline.adapters.milvus.lite.exact_condition import has_pair, holding
from pipeline.adapters.milvus.lite.table import Table
from pipeline.types import SearchFilter

BYTES_AT_ONCE = 8  # of a text compared in each pass over the rows that still match


def matching(table: Table, where: SearchFilter | None) -> NDArray[np.bool_]:
    """[N], True for live rows that the filter describes.

    Raises:
        ConfigError: a value is not valid Unicode, which no stored value can equal.
    """
    passes = table.live.copy()
    if where is None:
        return passes
    to_expression(where)  # for its errors, which are the same
    if where.bucket:
        _keep_bucket(passes, table, where.bucket.encode())
    if where.key_prefix:
        _keep_prefix(passes, table, where.key_prefix.encode())
    for name, text in where.metadata.items():
        passes &= has_pair(table, name, [text])
    if where.condition is not None:
        passes &= holding(table, where.condition)
    return passes


def _keep_bucket(passes: NDArray[np.bool_], table: Table, bucket: bytes) -> None:
    passes &= table.records["bucket_bytes"] == len(bucket)
    _keep_text(passes, table, table.records["text_start"], bucket)


def _keep_prefix(passes: NDArray[np.bool_], table: Table, prefix: bytes) -> None:
    passes &= table.records["key_bytes"] >= len(prefix)
    _keep_text(passes, table, table.records["text_start"] + table.records["bucket_bytes"], prefix)


def _keep_text(passes: NDArray[np.bool_], table: Table, starts: NDArray[np.int64], wanted: bytes) -> None:
    """Keep rows whose text begins with `wanted`. Every row in `passes` has as many bytes."""
    slots = np.flatnonzero(passes)
    for begin in range(0, len(wanted), BYTES_AT_ONCE):
        piece = np.frombuffer(wanted[begin : begin + BYTES_AT_ONCE], dtype=np.uint8)
        places = starts[slots, None] + (begin + np.arange(len(piece)))
        slots = slots[(table.texts[places] == piece).all(axis=1)]
    passes[:] = False
    passes[slots] = True
