"""The application over the world in memory, asked in this process."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.api.app import make_app
from pipeline.api.backend import Backend, Runner
from pipeline.api.middleware.callers import Door, KeyDoor
from pipeline.api.places import Places
from pipeline.api.readiness import Part
from pipeline.location import Location
from pipeline.ports import AuditLog, Deps, ImageEmbedder
from pipeline.service.access import local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.keyring import Keyring
from pipeline.service.keys import KeyRequest, create_key
from pipeline.service.models import ResidentModel
from pipeline.settings import Settings
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_verifications import MemoryVerificationBook
from pipeline.types import KeyRole
from tests.accountable import NO_LOG
from tests.unit.fakes import BUCKET, CONCURRENCY, HERE, LIMITS

ORIGIN = "http://127.0.0.1"
SHOP = Location(url=f"s3://{BUCKET}/", bucket=BUCKET, prefix="")


class NotedJobs:
    """A runner that runs nothing."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def start(self, job_id: str) -> None:
        self.started.append(job_id)

    def has(self, job_id: str) -> bool:
        return job_id in self.started


def backend_of(
    deps: Deps,
    home: Path,
    *,
    allowed: Sequence[Location] = (SHOP,),
    driver: str = HERE,
    runner: Runner | None = None,
    log: AuditLog | None = None,
) -> Backend:
    def model_for(_address: str, _collection: str) -> ImageEmbedder:
        return deps.embedder

    assert isinstance(deps.ledger, SqlLedger)
    log = log or MemoryAuditLog()
    return Backend(
        settings=Settings.model_construct(
            home=home, collection="images", batch_items=4, batch_threads=1, metrics_port=0
        ),
        store=deps.store,
        index=deps.index,
        ledger=deps.ledger,
        keys=deps.ledger.keys,
        policies=deps.ledger.policies,
        persons=deps.ledger.persons,
        verifications=MemoryVerificationBook(log),
        requests=deps.ledger.requests,
        answers_to=Accountability(log=log, policies=deps.ledger.policies, index=deps.index),
        models=ResidentModel(
            deps.embedder, deps.index, deps.finder, deps.texts, deps.beside, deps.texts_beside
        ),
        model_for=model_for,
        limits=LIMITS,
        concurrency=CONCURRENCY,
        places=Places(allowed, known=list),
        runner=runner or NotedJobs(),
        driver=driver,
        uploads=Location(url=f"s3://{BUCKET}/uploads/", bucket=BUCKET, prefix="uploads/"),
        decoding=threading.BoundedSemaphore(CONCURRENCY.decode_threads),
        parts=(
            Part(name="index", look=deps.index.list_collections),
            Part(name="ledger", look=lambda: deps.ledger.list_jobs(limit=1)),
        ),
    )


def client_of(backend: Backend, *, door: Door | None = None) -> TestClient:
    """Errors that nobody foresaw are answered, as a server would."""
    return TestClient(make_app(backend, door=door), base_url=ORIGIN, raise_server_exceptions=False)


def client_with_keys(backend: Backend) -> TestClient:
    """Of a service that wants a key for every request."""
    return client_of(backend, door=KeyDoor(Keyring(backend.keys)))


def key_for(backend: Backend, *roles: KeyRole, **more: Any) -> dict[str, str]:
    """The header of a request with a new key."""
    request = KeyRequest(name="a test's", roles=roles, **more)
    return {"authorization": f"Bearer {create_key(request, backend.keys, NO_LOG, local_caller()).text}"}
