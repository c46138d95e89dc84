"""The ports of this process for its routes, opened once, and the caller."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated, Protocol, cast

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
from pipeline.ports.embedder import warm_model
from pipeline.ports.giving_way import StoreGivingWay
from pipeline.ports.lazy import LazyEmbedder
from pipeline.search.micro_batches import MicroBatches
from pipeline.search.query import Query
from pipeline.search.right_of_way import RightOfWay
from pipeline.service.access import Caller, local_caller
from pipeline.service.models import LoadedOnDemand, Models
from pipeline.service.search import SearchAnswer, SearchPorts, SearchRequest, search_images
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
    right_of_way: RightOfWay = field(default_factory=RightOfWay)  # of searches, before jobs of this process

    def search(self, queries: Sequence[Query], request: SearchRequest, caller: Caller) -> list[SearchAnswer]:
        """One answer for each query, in order. Queries with a picture wait for a place to decode it."""
        ports = SearchPorts(
            store=self.store,
            index=self.index,
            models=self.models,
            # The pictures of one request come one after another: other requests have the other threads.
            concurrency=replace(self.concurrency, decode_threads=1, fetch_threads=1),
            decode_slots=self.decoding,
        )
        with self.right_of_way.search():
            return list(search_images(queries, request, ports, self.limits, caller))

    def deps_with(self, embedder: ImageEmbedder) -> Deps:
        """The ports for a job that runs in this process."""
        store = StoreGivingWay(self.store, self.right_of_way.give_way)
        return wiring.embedded_deps(
            self.settings, store=store, index=self.index, embedder=embedder, ledger=self.ledger
        )


@contextmanager
def open_backend(settings: Settings, allowed: list[Location]) -> Iterator[Backend]:
    """Open every port of an embedded service, and close them again.

    Raises:
        ConfigError: another process has the index open, or a setting cannot work.
    """
    limits = wiring.limits_of(settings)
    driver = wiring.driver_here(settings)
    right_of_way = RightOfWay()
    with ExitStack() as opened:
        index = opened.enter_context(wiring.open_index(settings))
        ledger = opened.enter_context(wiring.open_ledger(settings))
        load_for_query = wiring.model_loader(settings)

        def load_for_queries(address: str, precision: str) -> ImageEmbedder:
            return opened.enter_context(MicroBatches(load_for_query(address, precision)))

        def on_demand(load: Callable[[str, str], ImageEmbedder]) -> LoadedOnDemand:
            return LoadedOnDemand(index, load, requested=settings.model, precision=settings.precision)

        models = on_demand(load_for_queries)
        # Of its own: a picture that is searched for would wait behind the groups of a job.
        models_of_jobs = on_demand(
            wiring.model_loader(settings, batches=settings.batch_threads, before_pass=right_of_way.give_way)
        )

        def model_for(address: str, collection: str) -> ImageEmbedder:
            existing = index.get_collection(collection)
            spec = wiring.lazy_model(address, settings, existing=existing).spec
            target = CollectionRef(name=collection, fingerprint=spec.fingerprint)
            return LazyEmbedder(spec, lambda: models.answering(target))  # that of searches: somebody waits

        def known() -> list[Location]:
            requests = (job.request for job in ledger.list_jobs(limit=MOST_KNOWN_JOBS))
            return [Location(url=r.location, bucket=r.bucket, prefix=r.prefix) for r in requests if r.bucket]

        def deps_of(job: Job) -> Deps:
            target = job.request.target
            spec = wiring.model_of_generation(target, index, settings).spec
            return backend.deps_with(LazyEmbedder(spec, lambda: models_of_jobs.answering(target)))

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
            right_of_way=right_of_way,
        )
        try:
            yield backend
        finally:
            runner.close()


def warm_up(backend: Backend) -> threading.Thread:
    """Load the model of the usual collection, so that the first picture need not wait. Returns at once."""

    def load() -> None:
        try:
            warm_model(backend.models.answering(backend.index.live(backend.settings.collection)))
        except PictorError as err:  # there may be no such collection, and its searches will say so
            logger.info("model not loaded yet", extra={"error": str(err)})

    thread = threading.Thread(target=load, name="warm-up", daemon=True)
    thread.start()
    return thread


# `async`, for they wait for nothing. FastAPI would hand plain functions to another thread and back, twice for
# each search.
async def _backend_of(request: Request) -> Backend:
    return cast("Backend", request.app.state.backend)


async def _caller_of(request: Request) -> Caller:
    """Whoever reaches the loopback address of this machine has the rights of its user."""
    return replace(local_caller(), request_id=request_id_of(request.scope))


Ports = Annotated[Backend, Depends(_backend_of)]
Asks = Annotated[Caller, Depends(_caller_of)]
