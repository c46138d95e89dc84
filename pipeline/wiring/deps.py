"""The ports of a job."""

from dataclasses import replace

from pipeline.ports import Deps, ImageEmbedder, Ledger, ObjectStore, PolicyBook, VectorIndex
from pipeline.settings import Settings
from pipeline.types import CollectionInfo
from pipeline.wiring.concurrency import concurrency_of, load_of_model
from pipeline.wiring.lazy_models import finder_of, models_beside


def embedded_deps(
    settings: Settings,
    *,
    store: ObjectStore,
    index: VectorIndex,
    embedder: ImageEmbedder,
    ledger: Ledger,
    existing: CollectionInfo | None = None,
    policies: PolicyBook | None = None,
    of_folder: bool = False,
) -> Deps:
    """The ports for a job that runs in this process.

    Args:
        existing: the collection that it is for, if it is there already.
        policies: for a job that may make its collection.
        of_folder: the job reads a folder, and no bucket of S3.
    """
    load = replace(load_of_model(embedder.spec, batches=settings.batch_threads), of_folder=of_folder)
    return Deps(
        store=store,
        index=index,
        embedder=embedder,
        ledger=ledger,
        concurrency=concurrency_of(settings, load),
        finder=finder_of(embedder.spec, settings),
        beside=models_beside(embedder.spec, settings, existing=existing, batches=settings.batch_threads),
        policies=policies,
    )
