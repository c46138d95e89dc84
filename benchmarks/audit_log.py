"""What the transparency log costs: `python -m benchmarks.audit_log`. SQLite and a folder, no servers."""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, Measured
from benchmarks.part import parser_of, run_part, tell
from benchmarks.rounds import figure
from pipeline.adapters.folder.store import FolderStore
from pipeline.adapters.ledger.audit_rows import NewEntry
from pipeline.adapters.ledger.sql_audit_log import SqlAuditLog, open_audit_log
from pipeline.audit.note import SigningKey
from pipeline.audit.place import Place
from pipeline.audit.publisher import Publisher
from pipeline.audit.records import canonical_json, commit, new_salt
from pipeline.audit.verify import verify_log
from pipeline.types import Actor, AuditKind, AuditRecord, Candidate, Probe, ReferenceDb
from pipeline.types.audit import new_record_id

ENTRIES, QUICK_ENTRIES = 1_000_000, 2_000
CALL_ENTRIES = 1_000  # of one transaction while the log is filled
SINGLE, QUICK_SINGLE = 500, 20  # appended one by one
THREADS = 8
PERCENTILES = {"p50": 0.5, "p99": 0.99}
NOTES = (
    f"{ENTRIES:,} searches with 10 candidates each, in a ledger of SQLite, published to a folder.",
    "Verifying compares every record, tile and checkpoint. Its ledger was written just before.",
    "Each append is on disk under a signed checkpoint when it returns.",
)


def main() -> None:
    run_part("audit_log", parser_of("audit_log", __doc__ or "").parse_args(), measure)


def measure(options: argparse.Namespace) -> Measured:
    entries, single = (QUICK_ENTRIES, QUICK_SINGLE) if options.quick else (ENTRIES, SINGLE)
    key = SigningKey.generate("benchmark.test/log")
    with tempfile.TemporaryDirectory() as folder:
        tiles = Path(folder) / "tiles"
        tiles.mkdir()
        place = Place(store=FolderStore(), bucket=str(tiles), prefix="", url="tiles/")
        with open_audit_log(f"sqlite:///{folder}/ledger.db", key) as log:
            filled_s = _seconds(lambda: _fill(log, entries))
            tell(f"filled with {entries:,} entries in {filled_s:.0f} s")
            published_s = _seconds(Publisher(log, key.verifier, tiles=place).publish)
            tree_bytes = sum(file.stat().st_size for file in tiles.rglob("*") if file.is_file())
            started = time.perf_counter()
            found = verify_log(log, key.verifier, place=place)
            verified_s = time.perf_counter() - started
            if found.faults or found.entries != entries:
                raise RuntimeError(f"{found.entries} entries verified: {found.faults}")
            tell(f"verified in {verified_s:.1f} s")
            appended = list(_append_singly(log, single))
            together = _append_together(log, single)
            receipt = log.append([_search()])[0]
    return Measured(
        figures=[
            figure("fill, 1,000 entries a call", "entries/s", [entries / filled_s]),
            figure("publish, whole log", "s", [published_s]),
            figure("published tree", "bytes/entry", [tree_bytes / entries]),
            figure("verify, whole log", "s", [verified_s]),
            *_latencies(appended),
            figure(f"append, {THREADS} at once", "entries/s", [together]),
            figure("receipt", "bytes", [len(receipt.proof.encode())]),
        ],
        notes=NOTES,
    )


def _search() -> AuditRecord:
    now = datetime.now(UTC)
    return AuditRecord(
        kind=AuditKind.SEARCH,
        actor=Actor(id="searcher", role="search", auth_method="key"),
        started_at=now,
        ended_at=now,
        purpose_code="missing_person",
        case_ref="C-2026-1234",
        probe=Probe(sha256="ab" * 32, source="upload"),
        reference_db=ReferenceDb(collection="faces", model_fingerprint="cd" * 32, row_count=100_000),
        candidates=tuple(
            Candidate(id=f"{rank:032x}", score=0.9 - rank / 100, rank=rank) for rank in range(1, 11)
        ),
    )


def _fill(log: SqlAuditLog, entries: int) -> None:
    """With one record under many ids: writing JSON a million times is not what is measured here."""
    record = _search()
    canonical = canonical_json(record)

    def new_entry() -> NewEntry:
        record_id, salt = new_record_id(), new_salt()
        body = canonical.replace(record.record_id.encode(), record_id.encode())
        named = replace(record, record_id=record_id)
        return NewEntry(record=named, canonical=body, salt=salt, commitment=commit(salt, body))

    for _ in range(0, entries, CALL_ENTRIES):
        log.append_entries([new_entry() for _ in range(CALL_ENTRIES)])


def _append_singly(log: SqlAuditLog, count: int) -> Iterator[float]:
    """Milliseconds of each."""
    for _ in range(count):
        record = _search()
        yield 1000 * _seconds(partial(log.append, [record]))


def _append_together(log: SqlAuditLog, count: int) -> float:
    """Entries a second of several threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        seconds = _seconds(lambda: list(pool.map(lambda _: log.append([_search()]), range(THREADS * count))))
    return THREADS * count / seconds


def _latencies(times_ms: list[float]) -> list[Figure]:
    ordered = sorted(times_ms)
    return [
        figure(f"append, 1 at once: {name}", "ms", [ordered[int(share * (len(ordered) - 1))]])
        for name, share in PERCENTILES.items()
    ]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
