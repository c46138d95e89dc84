"""Stages of the write: what an upsert costs this process, at a server and with Milvus Lite."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.synthetic import BUCKET, free_spec, unit_vectors
from pipeline import wiring
from pipeline.adapters.milvus.lite.index import LiteIndex
from pipeline.ports import VectorIndex
from pipeline.ports.image_rows import rows_by_image
from pipeline.settings import Settings
from pipeline.types import IndexRow, ObjectRef

FailedAt = Callable[[], int]


def row_stages(settings: Settings, folder: Path, opened: ExitStack, *, items: int) -> dict[str, FailedAt]:
    """Args: `opened` closes the connections; `items` are the rows of one upsert.

    Returns:
        By name, what does the work and returns of how many rows.
    """
    server = opened.enter_context(wiring.open_index(settings))
    lite = opened.enter_context(LiteIndex(str(folder / "lite.db")))
    rows = make_rows(items)
    return {
        "upsert, Milvus server": _upserting(server, f"{settings.collection}_rows", rows),
        "upsert, Milvus Lite": _upserting(lite, "rows", rows),
    }


def make_rows(count: int, *, first: int = 0, seed: int = 0) -> list[IndexRow]:
    """Rows with vectors of 512 numbers and keys as object stores have them."""
    indexed_at = datetime.now(UTC)
    return [
        IndexRow(id=ref.image_id, ref=ref, vector=vector, width=512, height=512, indexed_at=indexed_at)
        for ref, vector in zip(_refs(first, count), unit_vectors(count, seed), strict=True)
    ]


def _refs(first: int, count: int) -> Sequence[ObjectRef]:
    return [
        ObjectRef(bucket=BUCKET, key=f"2026/11/photo-{n:09d}.jpg", etag=f"{n:032x}", size_bytes=80_000)
        for n in range(first, first + count)
    ]


def _upserting(index: VectorIndex, collection: str, rows: Sequence[IndexRow]) -> FailedAt:
    target = index.create_collection(collection, free_spec()).ref

    def upsert() -> int:
        index.replace_images(
            target, rows_by_image(rows)
        )  # the same rows each time: as dear as new ones, and nothing grows
        return len(rows)

    return upsert
