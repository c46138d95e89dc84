"""The application over the world in memory, asked in this process."""

import threading
from collections.abc import Sequence
from pathlib import Path

from starlette.testclient import TestClient

from pipeline.api.app import make_app
from pipeline.api.backend import Backend, Runner
from pipeline.api.places import Places
from pipeline.api.readiness import Part
from pipeline.location import Location
from pipeline.ports import Deps, ImageEmbedder
from pipeline.service.models import ResidentModel
from pipeline.settings import Settings
from tests.unit.fakes import BUCKET, CONCURRENCY, HERE, LIMITS

ORIGIN = "http://127.0.0.1"
SHOP = Location(url=f"s3://{BUCKET}/", bucket=BUCKET, prefix="")


class NotedJobs:
    """A runner that runs nothing."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def start(self, job_id: str) -> None:
        self.started.append(job_id)


def backend_of(
    deps: Deps,
    home: Path,
    *,
    allowed: Sequence[Location] = (SHOP,),
    driver: str = HERE,
    runner: Runner | None = None,
) -> Backend:
    def model_for(_address: str, _collection: str) -> ImageEmbedder:
        return deps.embedder

    return Backend(
        settings=Settings.model_construct(home=home, collection="images", batch_items=4, batch_threads=1),
        store=deps.store,
        index=deps.index,
        ledger=deps.ledger,
        models=ResidentModel(deps.embedder, deps.index),
        model_for=model_for,
        limits=LIMITS,
        concurrency=CONCURRENCY,
        places=Places(allowed, known=list),
        runner=runner or NotedJobs(),
        driver=driver,
        decoding=threading.BoundedSemaphore(CONCURRENCY.decode_threads),
        parts=(
            Part(name="index", look=deps.index.list_collections),
            Part(name="ledger", look=lambda: deps.ledger.list_jobs(limit=1)),
        ),
    )


def client_of(backend: Backend) -> TestClient:
    """Errors that nobody foresaw are answered, as a server would."""
    return TestClient(make_app(backend), base_url=ORIGIN, raise_server_exceptions=False)
