"""The figures of the part `service`, from what its turns measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.clients import Latencies
from benchmarks.crowd import Crowd
from benchmarks.figures import Figure
from benchmarks.rounds import figure, ratio
from benchmarks.search_ways import BARE, BARE_VECTOR

HTTP = "HTTP, stored id"
UNRECORDED = "HTTP without the log, stored id"
MEBIBYTE = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """`cpu_ms` is what the process of the service used for each answer."""

    latencies: Latencies
    cpu_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """Searches with a backfill and without, and its rows/s with searches and without."""

    busy: Latencies
    quiet: Latencies
    rate_searched: float
    rate_alone: float


def key(way: str, clients: int) -> str:
    return f"{way}, {clients} client{'s' if clients > 1 else ''}"


def way_figures(turns: Mapping[str, Sequence[Turn]]) -> list[Figure]:
    found = []
    for name, series in turns.items():
        found += [
            figure(f"{name}: p{percent}", "ms", [turn.latencies.percentile(percent) for turn in series])
            for percent in (50, 99)
        ]
        found.append(figure(f"{name}: rate", "queries/s", [turn.latencies.per_second for turn in series]))
        if name.startswith((HTTP, UNRECORDED)):
            found.append(figure(f"{name}: CPU of the service", "ms/query", [turn.cpu_ms for turn in series]))
    return found


def ratios(turns: Mapping[str, Sequence[Turn]]) -> list[Figure]:
    one = {
        way: [turn.latencies for turn in turns[key(way, 1)]] for way in (HTTP, UNRECORDED, BARE, BARE_VECTOR)
    }
    eight = {
        way: [turn.latencies.per_second for turn in turns[key(way, 8)]] for way in (HTTP, UNRECORDED, BARE)
    }
    medians = {way: [found.percentile(50) for found in series] for way, series in one.items()}
    return [
        ratio("HTTP ÷ pymilvus, stored id, 1 client: p50", medians[HTTP], medians[BARE]),
        ratio("HTTP, stored id ÷ pymilvus, vector, 1 client: p50", medians[HTTP], medians[BARE_VECTOR]),
        ratio("HTTP ÷ pymilvus, stored id, 8 clients: rate", eight[HTTP], eight[BARE]),
        figure(
            "log on − off, 1 client: p50",
            "ms",
            [on - off for on, off in zip(medians[HTTP], medians[UNRECORDED], strict=True)],
        ),
        ratio("log on ÷ off, 8 clients: rate", eight[HTTP], eight[UNRECORDED]),
    ]


def backfill_figures(beside: Sequence[Beside]) -> list[Figure]:
    busy = [found.busy.percentile(99) for found in beside]
    quiet = [found.quiet.percentile(99) for found in beside]
    searched = [found.rate_searched for found in beside]
    alone = [found.rate_alone for found in beside]
    return [
        figure("during a backfill: p99", "ms", busy),
        figure("without: p99", "ms", quiet),
        ratio("during a backfill ÷ without: p99", busy, quiet),
        ratio("backfill, beside searches ÷ alone: rate", searched, alone),
    ]


def crowd_figures(found: Crowd, grown_bytes: int) -> list[Figure]:
    return [
        figure("crowd: answers", "queries/s", [len(found.ms) / found.seconds]),
        figure("crowd: p99 of answers", "ms", [found.percentile(99)]),
        figure("crowd: refusals", "queries/s", [found.refused / found.seconds]),
        figure("crowd: errors but 429", "count", [found.errors]),
        figure("crowd: growth of memory", "MiB", [grown_bytes / MEBIBYTE]),
    ]
