"""Planning a long listing: `python -m benchmarks.plan_cost --keys N`.

Batch rows go into the ledger of the settings, in the groups that the distributed planner commits. What that
one publishes besides is bounded by its workers, not by it.
"""

import argparse
import json
import sys
import time
from itertools import islice
from pathlib import Path

from benchmarks.synthetic import BUCKET, EndlessStore, free_spec
from pipeline import wiring
from pipeline.ingest.plan import plan_job, sum_findings
from pipeline.ports import VersionBook
from pipeline.settings import Settings
from pipeline.types import WORKERS, JobRequest, generation_of, indexed_version

GROUP_BATCHES = 32  # in one transaction, as in workers.planning.planner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, required=True)
    parser.add_argument("--prefix", default="a/", help="of the keys, to plan two halves of a bucket at once")
    parser.add_argument("--known", action="store_true", help="plan keys that the version book has already")
    options = parser.parse_args()
    settings = Settings.from_env()
    spec = free_spec()
    request = JobRequest(
        location=f"s3://{BUCKET}/{options.prefix}",
        bucket=BUCKET,
        prefix=options.prefix,
        collection="images",
        model_name=spec.name,
        fingerprint=spec.fingerprint,
        batch_items=settings.batch_items,
    )
    store = EndlessStore([b"x" * 80_000], options.keys, options.prefix)
    with wiring.open_ledger(settings) as ledger:
        if options.known:
            enter_all(store, request, ledger.book)
        job = ledger.create_job(request, driver=WORKERS)
        started = time.perf_counter()
        steps, cursor = plan_job(job, store, ledger.book), job.cursor
        while group := list(islice(steps, GROUP_BATCHES)):
            batches = [step.batch for step in group if step.batch is not None]
            ignored = sum(step.ignored for step in group)
            ledger.record_plan(
                job.job_id,
                batches,
                after=cursor,
                cursor=group[-1].cursor,
                ignored=ignored,
                findings=sum_findings(group),
            )
            cursor = group[-1].cursor
        ledger.finish_planning(job.job_id, ignored=0)
        seconds = time.perf_counter() - started
        planned = ledger.get_job(job.job_id).counts.scanned
    sys.stdout.write(json.dumps({"keys": planned, "seconds": seconds, "peak_bytes": peak_bytes()}) + "\n")


def enter_all(store: EndlessStore, request: JobRequest, book: VersionBook) -> None:
    generation = generation_of(request.collection, request.fingerprint)
    refs = store.list_objects(request.bucket, request.prefix)
    while entries := [indexed_version(ref) for ref in islice(refs, 10_000)]:
        book.write(generation, entries)


def peak_bytes() -> int:
    """The most memory this process has had. Not ru_maxrss, which begins with that of whoever started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
