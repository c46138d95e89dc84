"""The ports of a service that runs its own jobs, in this process."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from pipeline import wiring, wiring_audit
from pipeline.api.assembly import make_backend
from pipeline.api.backend import Backend
from pipeline.api.retention import DailyRetention
from pipeline.api.runner import EmbeddedRunner, TwoLanes
from pipeline.embedded import DriverOptions
from pipeline.location import Location
from pipeline.ports import Deps, VectorIndex
from pipeline.ports.lazy import LazyEmbedder
from pipeline.service.access import local_caller
from pipeline.service.audit_retention import erase_due
from pipeline.service.index_image import ONE_IMAGE
from pipeline.service.models import LoadedOnDemand, Models
from pipeline.settings import Settings
from pipeline.types import Job


@contextmanager
def open_embedded(settings: Settings, allowed: list[Location]) -> Iterator[Backend]:
    """Open every port of an embedded service, and close them again.

    Raises:
        ConfigError: another process has the index open, or a setting cannot work.
    """
    driver = wiring.driver_here(settings)
    with ExitStack() as opened:
        index = opened.enter_context(wiring.open_index(settings))
        index_of_loads = opened.enter_context(wiring.open_index_of_loads(settings, index))
        ledger = opened.enter_context(wiring.open_ledger(settings))
        log = opened.enter_context(wiring_audit.open_recording(settings))
        # Of its own: a picture that is searched for would wait behind the groups of a job.
        models_of_jobs = LoadedOnDemand(
            index,
            wiring.model_loader(
                settings,
                batches=settings.batch_threads,
                before_pass=lambda: backend.right_of_way.give_way(),
            ),
            requested=settings.model,
            else_own=True,
            precision=settings.precision,
            finder_of=partial(wiring.finder_of, settings=settings),
        )

        def lane(written_through: VectorIndex, *, queue_batches: int, batch_threads: int) -> EmbeddedRunner:
            runner = EmbeddedRunner(
                lambda job: replace(_deps_of(job, backend, models_of_jobs), index=written_through),
                wiring.limits_of(settings),
                DriverOptions(queue_batches=queue_batches, batch_threads=batch_threads),
                driver=driver,
                lock_folder=wiring.job_locks(settings),
                ledger=ledger,
            )
            opened.callback(runner.close)
            return runner

        runner = TwoLanes(
            small=lane(index, queue_batches=1, batch_threads=1),  # the next search finds the image
            large=lane(
                index_of_loads, queue_batches=settings.queue_batches, batch_threads=settings.batch_threads
            ),
            is_small=lambda job_id: job_id.startswith(ONE_IMAGE),
        )
        backend = make_backend(
            settings,
            allowed,
            opened,
            index=index,
            ledger=ledger,
            log=log,
            runner=runner,
            driver=driver,
        )
        if log is not None:
            held = settings.held_cases
            retention = DailyRetention(
                lambda: erase_due(log, local_caller(), now=datetime.now(UTC), held_cases=held)
            )
            opened.callback(retention.close)
        yield backend


def _deps_of(job: Job, backend: Backend, models: Models) -> Deps:
    target = job.request.target
    spec = wiring.model_of_generation(target, backend.index, backend.settings).spec
    # Those that answer searches, as no model is in the memory twice.
    deps = backend.deps_with(LazyEmbedder(spec, lambda: models.answering(target)))
    beside = {
        one.name: LazyEmbedder(one.spec, partial(models.answering, target, one.name)) for one in spec.beside
    }
    return replace(deps, beside=beside)
