"""The rows in Milvus Lite's data files, read without Milvus Lite: it would load all of them into memory.

A data file is Parquet with a sequence number for each row; of the rows of one id the highest counts, unless a
delta file says that the id was deleted after it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.adapters.milvus.lite.folder import LiteFolder
from pipeline.adapters.milvus.rows import SCALAR_FIELDS, to_row
from pipeline.errors import ConfigError
from pipeline.types import IndexRow

MANIFEST_FORMAT = 2
ROWS_AT_ONCE = 4096  # 8 MB of vectors of 512

Newest = dict[str, int]  # the sequence number that counts; by id


def read_rows(folder: LiteFolder, physical: str) -> Iterator[list[IndexRow]]:
    """All rows that are there, in pieces. Milvus Lite is closed, and has no log of this collection.

    Raises:
        ConfigError: the files are damaged, or were written by a version that this one does not know.
    """
    try:
        data_files, delta_files = _list_files(folder, physical)
        newest = _find_newest(data_files, delta_files)
        for file in data_files:
            for batch in pq.ParquetFile(file).iter_batches(ROWS_AT_ONCE):
                yield _live_rows(batch, newest)
    except (OSError, KeyError, pa.ArrowException) as err:
        raise ConfigError(
            f"{folder.path} is damaged: the rows of collection {physical} cannot be read"
        ) from err


def _list_files(folder: LiteFolder, physical: str) -> tuple[list[Path], list[Path]]:
    manifest = folder.read_manifest(physical)
    if not manifest:
        return [], []  # nothing was ever written
    if manifest["manifest_format_version"] != MANIFEST_FORMAT:
        raise ConfigError(
            f"{folder.path} was written by another Milvus Lite: its files have format "
            f"{manifest['manifest_format_version']}, {MANIFEST_FORMAT} is expected"
        )
    home = folder.path / "collections" / physical / "partitions"
    parts = manifest["partitions"].items()
    return (
        [home / part / name for part, files in parts for name in files["data_files"]],
        [home / part / name for part, files in parts for name in files["delta_files"]],
    )


def _find_newest(data_files: list[Path], delta_files: list[Path]) -> Newest:
    newest = _read_sequence(data_files)
    deleted = _read_sequence(delta_files)
    return {id_: number for id_, number in newest.items() if deleted.get(id_, -1) < number}


def _read_sequence(files: list[Path]) -> Newest:
    """The highest sequence number of each id."""
    highest: Newest = {}
    for file in files:
        columns = pq.read_table(file, columns=["id", "_seq"])
        for id_, number in zip(columns["id"].to_pylist(), columns["_seq"].to_pylist(), strict=True):
            highest[id_] = max(number, highest.get(id_, -1))
    return highest


def _live_rows(batch: Any, newest: Newest) -> list[IndexRow]:
    numbers = zip(batch["id"].to_pylist(), batch["_seq"].to_pylist(), strict=True)
    live = batch.filter(pa.array([newest.get(id_) == number for id_, number in numbers]))
    numbers_per_vector = live["embedding"].type.list_size
    vectors = live["embedding"].flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    entities = live.select(SCALAR_FIELDS).to_pylist()
    return [
        to_row(entity | {"embedding": vector})
        for entity, vector in zip(entities, vectors.reshape(-1, numbers_per_vector), strict=True)
    ]
