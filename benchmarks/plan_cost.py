"""Planning a long listing: `python -m benchmarks.plan_cost --keys N`.

Batch rows go into the ledger of the settings, in the groups that the distributed planner commits. What that
one publishes besides is bounded by its workers, not by it.
"""

import argparse
import json
import resource
import sys
import time
from itertools import islice

from benchmarks.synthetic import BUCKET, EndlessStore, free_spec
from pipeline import wiring
from pipeline.plan import plan_job
from pipeline.settings import Settings
from pipeline.types import JobRequest

GROUP_BATCHES = 32  # in one transaction, as in workers.planner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, required=True)
    parser.add_argument("--prefix", default="a/", help="of the keys, to plan two halves of a bucket at once")
    options = parser.parse_args()
    settings = Settings.from_env()
    spec = free_spec()
    request = JobRequest(
        source=f"s3://{BUCKET}/{options.prefix}",
        bucket=BUCKET,
        prefix=options.prefix,
        collection="images",
        model_name=spec.name,
        fingerprint=spec.fingerprint,
        batch_items=settings.batch_items,
    )
    store = EndlessStore([b"x" * 80_000], options.keys, options.prefix)
    with wiring.open_ledger(settings) as ledger:
        job = ledger.create_job(request)
        started = time.perf_counter()
        steps = plan_job(job, store)
        while group := list(islice(steps, GROUP_BATCHES)):
            batches = [step.batch for step in group if step.batch is not None]
            ignored = sum(step.ignored for step in group)
            ledger.record_plan(job.job_id, batches, cursor=group[-1].cursor, ignored=ignored)
        ledger.finish_planning(job.job_id, ignored=0)
        seconds = time.perf_counter() - started
        planned = ledger.get_job(job.job_id).counts.scanned
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(json.dumps({"keys": planned, "seconds": seconds, "peak_bytes": peak_bytes}) + "\n")


if __name__ == "__main__":
    main()
