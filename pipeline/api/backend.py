"""The ports of this process for its routes, opened once, and the caller."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Protocol, cast

import numpy as np
from fastapi import Depends, Request

from pipeline import wiring
from pipeline.api.places import Places
from pipeline.api.request_id import request_id_of
from pipeline.api.runner import EmbeddedRunner
from pipeline.capacity import Load
from pipeline.embedded import DriverOptions
from pipeline.errors import PictorError
from pipeline.location import Location
from pipeline.ports import Concurrency, Deps, ImageEmbedder, ImageLimits, Ledger, ObjectStore, VectorIndex
from pipeline.ports.lazy import LazyEmbedder
from pipeline.ports.model_binding import DEFAULT_MODEL, check_binding, find_generation
from pipeline.service.access import Caller, local_caller
from pipeline.service.models import LoadedOnDemand, Models
from pipeline.service.search import SearchPorts
from pipeline.settings import Settings
from pipeline.types import CollectionRef, Job

logger = logging.getLogger(__name__)

MOST_KNOWN_JOBS = 1000  # the newest: whose locations requests may name


class Runner(Protocol):
    def start(self, job_id: str) -> None:
        """Have the job run. It returns at once."""
        ...


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Safe to share between threads, as its ports are."""

    settings: Settings
    store: ObjectStore
    index: VectorIndex
    ledger: Ledger
    models: Models
    # From the address that was asked for, or "", and the name of a collection.
    model_for: Callable[[str, str], ImageEmbedder]
    limits: ImageLimits
    concurrency: Concurrency
    places: Places
    runner: Runner
    driver: str
    decoding: threading.Semaphore  # as many pictures at once as there is memory for, whoever asks

    @property
    def search_ports(self) -> SearchPorts:
        # The pictures of one request come one after another: other requests have the other threads.
        alone = replace(self.concurrency, decode_threads=1, fetch_threads=1)
        return SearchPorts(store=self.store, index=self.index, models=self.models, concurrency=alone)

    def deps_with(self, embedder: ImageEmbedder) -> Deps:
        """The ports for a job that runs in this process."""
        is_trained = embedder.spec.address != DEFAULT_MODEL
        return Deps(
            store=self.store,
            index=self.index,
            embedder=embedder,
            ledger=self.ledger,
            concurrency=wiring.concurrency_of(
                self.settings, Load(batches=self.settings.batch_threads, is_trained=is_trained)
            ),
        )


@contextmanager
def open_backend(settings: Settings, allowed: list[Location]) -> Iterator[Backend]:
    """Open every port of an embedded service, and close them again.

    Raises:
        ConfigError: another process has the index open, or a setting cannot work.
    """
    limits = wiring.limits_of(settings)
    driver = wiring.driver_here(settings)
    with wiring.open_index(settings) as index, wiring.open_ledger(settings) as ledger:
        models = _models(index, settings)

        def model_for(address: str, collection: str) -> ImageEmbedder:
            existing = index.get_collection(collection)
            spec = wiring.lazy_model(address, settings, existing=existing).spec
            target = CollectionRef(name=collection, fingerprint=spec.fingerprint)
            return LazyEmbedder(spec, lambda: models.answering(target))  # one model, not one for each use

        def known() -> list[Location]:
            requests = (job.request for job in ledger.list_jobs(limit=MOST_KNOWN_JOBS))
            return [Location(url=r.location, bucket=r.bucket, prefix=r.prefix) for r in requests if r.bucket]

        def deps_of(job: Job) -> Deps:
            info = find_generation(job.request.target, index)
            embedder = wiring.lazy_model(settings.model, settings, existing=info)
            check_binding(info, embedder.spec)
            return backend.deps_with(LazyEmbedder(embedder.spec, lambda: models.answering(info.ref)))

        runner = EmbeddedRunner(
            deps_of,
            limits,
            DriverOptions(queue_batches=settings.queue_batches, batch_threads=settings.batch_threads),
            driver=driver,
            lock_folder=wiring.job_locks(settings),
            ledger=ledger,
        )
        concurrency = wiring.concurrency_of(settings, Load())
        backend = Backend(
            settings=settings,
            store=wiring.open_store(settings),
            index=index,
            ledger=ledger,
            models=models,
            model_for=model_for,
            limits=limits,
            concurrency=concurrency,
            decoding=threading.BoundedSemaphore(concurrency.decode_threads),
            places=Places(allowed, known),
            runner=runner,
            driver=driver,
        )
        try:
            yield backend
        finally:
            runner.close()


def warm_up(backend: Backend) -> threading.Thread:
    """Load the model of the usual collection, so that the first picture need not wait. Returns at once."""

    def load() -> None:
        try:
            embedder = backend.models.answering(backend.index.live(backend.settings.collection))
            side_px = embedder.spec.preprocessing.crop
            embedder.embed_images(np.zeros((1, 3, side_px, side_px), dtype=np.uint8))
        except PictorError as err:  # there may be no such collection, and its searches will say so
            logger.info("model not loaded yet", extra={"error": str(err)})

    thread = threading.Thread(target=load, name="warm-up", daemon=True)
    thread.start()
    return thread


def _models(index: VectorIndex, settings: Settings) -> LoadedOnDemand:
    def load(address: str, precision: str) -> ImageEmbedder:
        return wiring.load_model(address, settings, precision=precision, batches=settings.batch_threads)

    return LoadedOnDemand(index, load, requested=settings.model, precision=settings.precision)


def _backend_of(request: Request) -> Backend:
    return cast("Backend", request.app.state.backend)


def _caller_of(request: Request) -> Caller:
    """Whoever reaches the loopback address of this machine has the rights of its user."""
    return replace(local_caller(), request_id=request_id_of(request.scope))


Ports = Annotated[Backend, Depends(_backend_of)]
Asks = Annotated[Caller, Depends(_caller_of)]
