"""Search through the service function against bare pymilvus: `python -m benchmarks.search`.

One collection of 100,000 rows on a Milvus server. Everybody asks about the same rows, with the same effort of
the index, for the same fields. Then once more while a backfill writes into the collection.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient

from benchmarks.backfill import count_rows, running_backfill
from benchmarks.clients import Ask, Latencies, ask_from_clients
from benchmarks.figures import Figure, Measured
from benchmarks.part import parser_of, run_part, tell
from benchmarks.rounds import figure, interleave, ratio
from benchmarks.search_ways import BARE, BARE_VECTOR, PORT, SERVICE, K, recall_of, search_ways
from benchmarks.searched_collection import DIRECTIONS, draw_vectors, fill_collection, nearest_rows
from benchmarks.servers import VERSIONS, running_stack
from pipeline import wiring
from pipeline.ports import VectorIndex
from tests.chaos.system import place_on
from tests.fleet import settings_of

ROWS, QUICK_ROWS = 100_000, 2_000
QUERIES, QUICK_QUERIES = 1_000, 30  # in each turn: ten answers lie above the 99th percentile
TURN_S = 4.0  # a way that is slow answers fewer; the percentiles are then of those
RECALL_QUERIES = 200
ROUNDS, QUICK_ROUNDS = 2, 1
CLIENTS = (1, 8)

Turns = Mapping[str, Sequence[Latencies]]


def main() -> None:
    run_part("search", parser_of("search", __doc__ or "").parse_args(), measure)


def measure(options: argparse.Namespace) -> Measured:
    rows, rounds = (QUICK_ROWS, QUICK_ROUNDS) if options.quick else (ROWS, ROUNDS)
    queries = QUICK_QUERIES if options.quick else QUERIES
    vectors = draw_vectors(rows, seed=0)
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="bench-search-")))
        stack = opened.enter_context(running_stack(options.stack))
        env, _ = opened.enter_context(place_on(stack, folder / "place"))
        settings = settings_of(env)
        index = opened.enter_context(wiring.open_index(settings))
        ids = fill_collection(index, settings.collection, vectors)
        tell(f"  {rows} rows are indexed")
        recall = _recall(index, settings.collection, ids, vectors)
        client = MilvusClient(uri=settings.milvus_uri, token=settings.milvus_token.get_secret_value())
        opened.callback(client.close)
        ways = search_ways(index, client, settings.collection, ids[:queries], vectors[:queries])
        quiet = interleave(_turns(ways, CLIENTS, queries), rounds, tell, _show)
        before, began = count_rows(index, settings.collection), time.perf_counter()
        with running_backfill(env, index, settings.collection):
            busy = interleave(_turns(ways, CLIENTS[:1], queries), rounds, tell, _show)
            written = count_rows(index, settings.collection) - before
            rate = written / (time.perf_counter() - began)
    return Measured(
        figures=[
            figure(f"recall@{K} against brute force", "share", [recall]),
            *_latency_figures(quiet),
            *_ratios(quiet),
            *_backfill_figures(quiet, busy, rate),
        ],
        notes=[
            f"{rows} vectors of 512 numbers in about {DIRECTIONS} independent directions, HNSW as Pictor "
            f"makes it, top {K}; “stored id” reads a row and searches with it, “vector” only searches.",
        ],
        versions=VERSIONS,
    )


def _recall(index: VectorIndex, collection: str, ids: Sequence[str], vectors: NDArray[np.float32]) -> float:
    queries = draw_vectors(RECALL_QUERIES, seed=1)  # not rows of the collection: each would find itself
    nearest = [frozenset(ids[place] for place in places) for places in nearest_rows(vectors, queries, K)]
    return recall_of(index, collection, queries, nearest)


def _turns(
    ways: Mapping[str, Ask], client_numbers: Sequence[int], queries: int
) -> dict[str, Callable[[], Latencies]]:
    return {
        _key(way, clients): partial(ask_from_clients, ask, clients=clients, queries=queries, at_most_s=TURN_S)
        for clients in client_numbers
        for way, ask in ways.items()
    }


def _key(way: str, clients: int) -> str:
    return f"{way}, {clients} client{'s' if clients > 1 else ''}"


def _show(turn: Latencies) -> str:
    return f"p50 {turn.percentile(50):.1f} ms, p99 {turn.percentile(99):.1f} ms, {turn.per_second:.0f}/s"


def _latency_figures(turns: Turns, percents: Sequence[int] = (50, 95, 99)) -> list[Figure]:
    found = []
    for name, series in turns.items():
        found += [
            figure(f"{name}: p{percent}", "ms", [turn.percentile(percent) for turn in series])
            for percent in percents
        ]
        found.append(figure(f"{name}: rate", "queries/s", [turn.per_second for turn in series]))
    return found


def _ratios(turns: Turns) -> list[Figure]:
    pairs = {
        "service ÷ pymilvus, stored id": (SERVICE, BARE),
        "index port ÷ pymilvus, vector": (PORT, BARE_VECTOR),
    }
    return [
        ratio(
            f"{name}, {clients} at once: p50", _medians(turns, ours, clients), _medians(turns, bare, clients)
        )
        for name, (ours, bare) in pairs.items()
        for clients in CLIENTS
    ]


def _medians(turns: Turns, way: str, clients: int) -> list[float]:
    return [turn.percentile(50) for turn in turns[_key(way, clients)]]


def _backfill_figures(quiet: Turns, busy: Turns, images_per_s: float) -> list[Figure]:
    found = [figure("backfill beside the searches", "images/s", [images_per_s])]
    for name, series in busy.items():
        p99 = [turn.percentile(99) for turn in series]
        found.append(figure(f"during a backfill: {name}: p99", "ms", p99))
        found.append(
            ratio(
                f"during a backfill ÷ without: {name}: p99",
                p99,
                [turn.percentile(99) for turn in quiet[name]],
            )
        )
    return found


if __name__ == "__main__":
    main()
