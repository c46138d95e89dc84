"""The HTTP service against bare pymilvus, beside a backfill, and in a crowd: `python -m benchmarks.service`.

One collection of 100,000 rows on a Milvus server. The service and pymilvus ask about the same stored ids,
with the same effort of the index, for the same fields.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from pymilvus import MilvusClient

from benchmarks.backfill import Backfill, count_rows, running_backfill
from benchmarks.clients import Ask, ask_from_clients
from benchmarks.crowd import crowd
from benchmarks.figures import Measured
from benchmarks.http_ways import RunningService, asker_of, http_search, running_service
from benchmarks.part import parser_of, run_part, tell
from benchmarks.rounds import interleave
from benchmarks.search_ways import BARE, BARE_VECTOR, K, search_ways
from benchmarks.searched_collection import draw_vectors, fill_collection
from benchmarks.servers import VERSIONS, running_stack
from benchmarks.service_figures import (
    HTTP,
    UNRECORDED,
    Beside,
    Turn,
    backfill_figures,
    crowd_figures,
    key,
    ratios,
    way_figures,
)
from pipeline import wiring
from pipeline.ports import VectorIndex
from tests.chaos.system import place_on
from tests.fleet import settings_of

ROWS, QUICK_ROWS = 100_000, 2_000
TURN_S, QUICK_TURN_S = 4.0, 0.5
ROUNDS, QUICK_ROUNDS = 5, 1
UNRECORDED_ENV = {"PICTOR_AUDIT": "off"}
OF_WORKERS = ("PICTOR_BROKER_URL", "PICTOR_LEDGER_URL")  # the service stands alone, with a ledger in a file
BACKFILL_TURN_S = 8.0  # a second of it is a hundred searches, and one of them is the 99th percentile
QUICK_BACKFILL_S = 3.0  # some batches are written in this time, however busy the machine is
CLIENTS = (1, 8)
CROWD, QUICK_CROWD = 200, 40
CROWD_S, QUICK_CROWD_S = 60.0, 3.0


def main() -> None:
    run_part("service", parser_of("service", __doc__ or "").parse_args(), measure)


def measure(options: argparse.Namespace) -> Measured:
    rows, rounds = (QUICK_ROWS, QUICK_ROUNDS) if options.quick else (ROWS, ROUNDS)
    turn_s = QUICK_TURN_S if options.quick else TURN_S
    backfill_s = QUICK_BACKFILL_S if options.quick else BACKFILL_TURN_S
    clients, crowd_s = (QUICK_CROWD, QUICK_CROWD_S) if options.quick else (CROWD, CROWD_S)
    vectors = draw_vectors(rows, seed=0)
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="bench-service-")))
        stack = opened.enter_context(running_stack(options.stack))
        env, _ = opened.enter_context(place_on(stack, folder / "place"))
        env = {name: value for name, value in env.items() if name not in OF_WORKERS}
        settings = settings_of(env)
        index = opened.enter_context(wiring.open_index(settings))
        ids = fill_collection(index, settings.collection, vectors)
        tell(f"  {rows} rows are indexed")
        client = MilvusClient(uri=settings.milvus_uri, token=settings.milvus_token.get_secret_value())
        opened.callback(client.close)
        bare = search_ways(index, client, settings.collection, ids, vectors)
        service = opened.enter_context(running_service(env, folder))
        by_http = http_search(service.url, settings.collection, ids)
        silent = opened.enter_context(running_service(env | UNRECORDED_ENV, _new(folder / "unrecorded")))
        ways = {
            HTTP: by_http,
            UNRECORDED: http_search(silent.url, settings.collection, ids),
            BARE: bare[BARE],
            BARE_VECTOR: bare[BARE_VECTOR],
        }
        turns = interleave(_turns(ways, {UNRECORDED: silent}, service, turn_s), rounds, tell, _show)
        memory_before = service.resident_bytes()
        ask = asker_of(service.url, settings.collection)
        crowded = crowd(ask, ids, clients=clients, seconds=crowd_s)
        tell(f"  {clients} clients: {len(crowded.ms)} answers, {crowded.refused} refusals")
        grown_bytes = service.resident_bytes() - memory_before
        with running_backfill(env, index, settings.collection) as backfill:
            beside = [
                _beside_backfill(by_http, backfill, index, settings.collection, backfill_s)
                for _ in range(rounds)
            ]
    return Measured(
        figures=[
            *way_figures(turns),
            *ratios(turns),
            *backfill_figures(beside),
            *crowd_figures(crowded, grown_bytes),
        ],
        notes=[
            f"{rows} vectors of 512 numbers, HNSW as Pictor makes it, top {K}. Both read the row of a stored "
            "id and then search with its vector; “vector” only searches.",
            "The service is one process on the same machine as its clients, Milvus and pymilvus.",
            "The log is in SQLite, in the folder for temporary files. A second service does not record.",
            "Beside a backfill one client asks, in turn with and without it. Its rate is that of rows. Linux "
            "runs the backfill in idle moments alone (SCHED_IDLE), as docs/how-to/operate.md advises.",
            f"{clients} clients ask again at once, whatever they were told.",
        ],
        versions=VERSIONS,
    )


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _turns(
    ways: Mapping[str, Ask], others: Mapping[str, RunningService], service: RunningService, turn_s: float
) -> "dict[str, partial[Turn]]":
    """Args: `others` are services that are measured in the place of `service`."""
    return {
        key(way, clients): partial(_turn, ask, others.get(way, service), clients, turn_s)
        for clients in CLIENTS
        for way, ask in ways.items()
    }


def _turn(ask: Ask, service: RunningService, clients: int, turn_s: float) -> Turn:
    before = service.cpu_s()
    latencies = ask_from_clients(ask, clients=clients, queries=10**6, at_most_s=turn_s)
    cpu_ms = 1000 * (service.cpu_s() - before) / len(latencies.ms)
    return Turn(latencies=latencies, cpu_ms=cpu_ms)


def _show(turn: Turn) -> str:
    found = turn.latencies
    return (
        f"p50 {found.percentile(50):.1f} ms, p99 {found.percentile(99):.1f} ms, {found.per_second:.0f}/s, "
        f"{turn.cpu_ms:.1f} ms of CPU of the service"
    )


def _beside_backfill(
    ask: Ask, backfill: Backfill, index: VectorIndex, collection: str, turn_s: float
) -> Beside:
    search = partial(ask_from_clients, ask, clients=1, queries=10**6, at_most_s=turn_s)
    before, began = count_rows(index, collection), time.perf_counter()
    time.sleep(turn_s)
    between, middle = count_rows(index, collection), time.perf_counter()
    busy = search()
    after, ended = count_rows(index, collection), time.perf_counter()
    with backfill.stopped():
        quiet = search()
    found = Beside(
        busy=busy,
        quiet=quiet,
        rate_alone=(between - before) / (middle - began),
        rate_searched=(after - between) / (ended - middle),
    )
    tell(
        f"  p99 {busy.percentile(99):.1f} ms beside a backfill, {quiet.percentile(99):.1f} without; "
        f"{found.rate_searched:.0f} rows/s beside searches, {found.rate_alone:.0f} without"
    )
    return found


if __name__ == "__main__":
    main()
