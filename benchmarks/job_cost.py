"""What an image costs in a job of a given length: `python -m benchmarks.job_cost --objects N`.

The embedded driver over made-up objects, with a model and an index that cost nothing: what grows with the
length of a job would have to be the planner, the ledger, the queue or the driver.
"""

import argparse
import json
import sys
import time

from benchmarks.contestants.embedded import check, driver_options, ignore_progress
from benchmarks.photographs import draw_jpeg
from benchmarks.synthetic import BUCKET, EndlessStore, ForgetfulIndex, FreeEmbedder, free_spec
from pipeline import wiring
from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.capacity import Load
from pipeline.embedded import run_job
from pipeline.ports import Deps
from pipeline.service.submit import open_job
from pipeline.settings import Settings
from pipeline.types import JobRequest, embedded_on

PICTURE_PX = (96, 72)
SIDE_PX = 32  # of the model's input: small, since decoding is the same at any length of a job
WARM_UP_OBJECTS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, required=True)
    objects = parser.parse_args().objects
    settings = Settings.from_env()
    bodies = [draw_jpeg(*PICTURE_PX, seed=seed) for seed in range(16)]
    with wiring.open_ledger(settings) as ledger:
        run("warm", WARM_UP_OBJECTS, bodies, ledger, settings)
        cpu, wall = time.process_time(), time.perf_counter()
        run("job", objects, bodies, ledger, settings)
        spent = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    sys.stdout.write(json.dumps({"objects": objects, **spent}) + "\n")


def run(prefix: str, objects: int, bodies: list[bytes], ledger: SqlLedger, settings: Settings) -> None:
    embedder = FreeEmbedder(free_spec(resize=SIDE_PX, crop=SIDE_PX))
    store = EndlessStore(bodies, objects, f"{prefix}/")
    deps = Deps(
        store=store,
        index=ForgetfulIndex(),
        embedder=embedder,
        ledger=ledger,
        concurrency=wiring.concurrency_of(settings, Load(batches=settings.batch_threads)),
    )
    request = JobRequest(
        location=f"s3://{BUCKET}/{prefix}/",
        bucket=BUCKET,
        prefix=f"{prefix}/",
        collection="images",
        model_name=embedder.spec.name,
        fingerprint=embedder.spec.fingerprint,
        batch_items=settings.batch_items,
    )
    job, _ = open_job(request, deps, driver=embedded_on("benchmark"))
    check(
        run_job(
            job,
            deps,
            wiring.limits_of(settings),
            driver_options(settings),
            on_progress=ignore_progress,
        )
    )


if __name__ == "__main__":
    main()
