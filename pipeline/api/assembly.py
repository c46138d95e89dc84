"""What every service is made of, whoever runs its jobs."""

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Protocol

from pipeline import wiring
from pipeline.api.backend import Backend, Runner
from pipeline.api.metrics import ServiceMetrics
from pipeline.api.places import Places, known_places
from pipeline.api.readiness import Part
from pipeline.evaluation.scale import calibration_in
from pipeline.location import Location
from pipeline.ports import (
    AuditLog,
    ImageEmbedder,
    KeyBook,
    Ledger,
    PolicyBook,
    RequestBook,
    VectorIndex,
    VerificationBook,
)
from pipeline.ports.embedder import warm_model, warm_texts
from pipeline.ports.lazy import LazyEmbedder
from pipeline.search.gathered_index import GatheredIndex
from pipeline.search.micro_batches import MicroBatches
from pipeline.service.accountability import Accountability
from pipeline.service.models import LoadedOnDemand, Models
from pipeline.settings import Settings
from pipeline.types import WORKERS, CollectionRef


class WholeLedger(Ledger, Protocol):
    """With what else stands in the same database."""

    @property
    def keys(self) -> KeyBook: ...

    @property
    def policies(self) -> PolicyBook: ...

    @property
    def verifications(self) -> VerificationBook: ...

    @property
    def requests(self) -> RequestBook: ...


def make_backend(
    settings: Settings,
    allowed: list[Location],
    opened: ExitStack,
    *,
    index: VectorIndex,
    ledger: WholeLedger,
    log: AuditLog | None,
    runner: Runner,
    driver: str,
    more_parts: Sequence[Part] = (),
) -> Backend:
    """What every service has, over the ports that differ. Args: `opened` closes what is opened later."""
    runs_jobs = driver != WORKERS
    metrics = ServiceMetrics()
    index = GatheredIndex(index, told=metrics.record_index_call)
    load = wiring.model_loader(settings)
    models = LoadedOnDemand(
        index,
        lambda address, precision: opened.enter_context(MicroBatches(load(address, precision))),
        requested=settings.model if runs_jobs else "",  # workers of several models may share a cluster
        else_own=True,
        precision=settings.precision,
        finder_of=partial(wiring.finder_of, settings=settings),
        load_texts=partial(wiring.load_texts, settings=settings),
    )

    def model_for(address: str, collection: str) -> ImageEmbedder:
        existing = index.get_collection(collection)
        spec = wiring.lazy_model(address, settings, existing=existing).spec
        target = CollectionRef(name=collection, fingerprint=spec.fingerprint)
        return LazyEmbedder(spec, lambda: models.answering(target))  # one model, not one for each use

    concurrency = wiring.concurrency_of(settings, wiring.load_of_searches(index.list_collections()))
    uploads = wiring.open_uploads(settings, driver=driver)
    return Backend(
        settings=settings,
        store=wiring.open_store(settings),
        index=index,
        ledger=ledger,
        keys=ledger.keys,
        policies=ledger.policies,
        persons=ledger.persons,
        verifications=ledger.verifications,
        requests=ledger.requests,
        answers_to=Accountability(
            log=log,
            policies=ledger.policies,
            index=index,
            calibration=calibration_in(settings.calibration),
        ),
        models=models,
        model_for=model_for,
        limits=wiring.limits_of(settings),
        concurrency=concurrency,
        decoding=threading.BoundedSemaphore(concurrency.decode_threads),
        places=Places(
            [*allowed, *([uploads] if uploads else [])],
            lambda: known_places(ledger, folders=runs_jobs),
            buckets=() if runs_jobs or settings.bucket_globs == ("*",) else settings.bucket_globs,
        ),
        runner=runner,
        driver=driver,
        uploads=uploads,
        metrics=metrics,
        parts=(
            Part(name="model", look=lambda: _warm(settings.collection, index, models)),
            Part(name="index", look=index.list_collections),
            Part(name="ledger", look=lambda: ledger.list_jobs(limit=1)),
            *more_parts,
        ),
    )


def _warm(collection: str, index: VectorIndex, models: Models) -> None:
    """Load the models of the usual collection, if there is one, so that the first search need not wait.

    The text tower comes first: words are quick, and do not wait for an image tower.
    """
    if (info := index.get_collection(collection)) is not None:
        embeddings = {"": info, **info.beside}
        for embedding in (name for name, of_it in embeddings.items() if of_it.reads_text):
            warm_texts(models.reading(info.ref, embedding))
        for embedding in embeddings:
            warm_model(models.answering(info.ref, embedding))


def warm_up(backend: Backend) -> None:
    """Begin to load what the first picture needs. Returns at once."""
    for part in backend.parts:
        part.ask()
