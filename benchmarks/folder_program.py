"""The index in a folder, from inside one process. Run by `benchmarks.embedded_index` as a file of its own.

It imports nothing but the build that it is run with, this one or an earlier one, through what both have:
`wiring.open_index`. Prints one JSON object.
"""

import json
import resource
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import wiring
from pipeline.settings import Settings
from pipeline.types import IndexRow, ModelSpec, ObjectRef, Preprocessing, SearchFilter, image_id_of

COLLECTION = "images"
BUCKET = "photos"
ROWS_PER_UPSERT = 64  # a batch of `pictor ingest`
K = 10
SEARCHES = 15  # of each kind; the median counts
RECALL_QUERIES = 20
PARTS = {"50 %": 2, "1 %": 100, "0.1 %": 1000}  # that a filter lets through: every so manieth row


def main() -> None:
    action, vectors_file = sys.argv[1], Path(sys.argv[2])
    vectors = np.load(vectors_file, mmap_mode="r")
    measured = {"load": load, "search": search}[action](vectors)
    sys.stdout.write(json.dumps(measured) + "\n")


def load(vectors: NDArray[np.float32]) -> dict[str, float]:
    batches = [
        [_row(number, vectors[number]) for number in range(start, min(start + ROWS_PER_UPSERT, len(vectors)))]
        for start in range(0, len(vectors), ROWS_PER_UPSERT)
    ]
    with wiring.open_index(Settings.from_env()) as index:
        index.create_collection(COLLECTION, _model(vectors.shape[1]))
        started, longest = time.perf_counter(), 0.0
        for rows in batches:
            before = time.perf_counter()
            _write(index, rows)
            longest = max(longest, time.perf_counter() - before)
        before = time.perf_counter()
        # What is `flush` now was called `settle` in earlier builds.
        getattr(index, "flush" if hasattr(index, "flush") else "settle")(_target(index))
        ended = time.perf_counter()
        longest = max(longest, ended - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"wall_s": ended - started, "longest_s": longest, "peak_mb": peak / 1024}


def _target(index: Any) -> Any:
    """The generation, or the name alone in builds that know none."""
    return index.live(COLLECTION) if hasattr(index, "live") else COLLECTION


def _write(index: Any, rows: Sequence[IndexRow]) -> None:
    if hasattr(index, "upsert"):
        index.upsert(COLLECTION, rows)
    else:
        index.replace_images(_target(index), {row.id: [row] for row in rows})


def search(vectors: NDArray[np.float32]) -> dict[str, Any]:
    with wiring.open_index(Settings.from_env()) as index:
        query, target = np.array(vectors[:1]), _target(index)
        search_s = _median_s(lambda: index.search(target, query, k=K))
        filtered_s = {
            part: _median_s(lambda every=every: index.search(target, query, k=K, where=_every(every)))
            for part, every in PARTS.items()
        }
        memory_mb = _resident_mb()
        matrix = np.array(vectors)
        numpy_s = _median_s(lambda: np.argpartition(-(matrix @ query[0]), K)[:K])
        queries = np.array(vectors[:: max(1, len(vectors) // RECALL_QUERIES)])
        recall = {
            part: _recall(index.search(target, queries, k=K, where=_every(every)), matrix, queries, every)
            for part, every in ({"all": 1} | PARTS).items()
        }
    return {
        "search_s": search_s,
        "numpy_s": numpy_s,
        "filtered_s": filtered_s,
        "memory_mb": memory_mb,
        "recall": recall,
    }


def _median_s(work: Any) -> float:
    work()
    spent_s = []
    for _ in range(SEARCHES):
        started = time.perf_counter()
        work()
        spent_s.append(time.perf_counter() - started)
    return float(np.median(spent_s))


def _recall(answers: Any, matrix: NDArray[np.float32], queries: NDArray[np.float32], every: int) -> float:
    """The share of the true nearest that was found."""
    scores = queries @ matrix[::every].T
    nearest = np.argsort(-scores, axis=1)[:, :K] * every
    truth = [{image_id_of(BUCKET, _key(number)) for number in row} for row in nearest.tolist()]
    shares = [
        len(best & {hit.id for hit in hits}) / len(best) for best, hits in zip(truth, answers, strict=True)
    ]
    return float(np.mean(shares))


def _every(every: int) -> SearchFilter | None:
    return SearchFilter(metadata={f"every{every}": "yes"}) if every > 1 else None


def _row(number: int, vector: NDArray[np.float32]) -> IndexRow:
    ref = ObjectRef(bucket=BUCKET, key=_key(number), etag=f"{number:032x}", size_bytes=80_000)
    return IndexRow(
        id=ref.image_id,
        ref=ref,
        vector=np.array(vector),
        width=512,
        height=512,
        indexed_at=datetime(2026, 1, 1, tzinfo=UTC),
        metadata={f"every{every}": "yes" for every in PARTS.values() if number % every == 0},
    )


def _key(number: int) -> str:
    return f"2026/photo-{number:09d}.jpg"


def _model(dim: int) -> ModelSpec:
    # What is `address` now was called `source` in earlier builds.
    field = "address" if "address" in ModelSpec.__dataclass_fields__ else "source"
    address: Any = {field: "builtin/bench"}
    return ModelSpec(
        **address,
        name="bench",
        architecture="none",
        fingerprint="be" * 32,
        dim=dim,
        preprocessing=Preprocessing(resize=8, crop=8, mean=(0, 0, 0), std=(1, 1, 1)),
    )


def _resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
