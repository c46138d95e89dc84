"""A service with keys and two tenants: `acme` has collections `images` and `secret`, `other` has `hidden`."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from starlette.testclient import TestClient

from pipeline.api.backend import Backend
from pipeline.ingest.message import encode_batch
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.service.access import local_caller
from pipeline.service.keys import KeyRequest, create_key
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    BatchReport,
    EmbedBatch,
    FailedAt,
    KeyRole,
    ObjectRef,
    PlannedBatch,
    Reason,
    Rejected,
    image_id_of,
)
from tests.unit.api_client import backend_of, client_with_keys
from tests.unit.fakes import BUCKET, HERE, LIMITS, SPEC, distinct_png, request_of

ME = local_caller()
STORED = {"images": "tenant_acme_images", "secret": "tenant_acme_secret", "hidden": "tenant_other_hidden"}
KEYS = {"images": "images/a.png", "secret": "secret/b.png", "hidden": "hidden/c.png"}


@dataclass
class TenantWorld:
    deps: Deps
    home: Path
    backend: Backend = field(init=False)
    jobs: dict[str, str] = field(default_factory=dict)  # by collection; each has an object that failed

    def __post_init__(self) -> None:
        self.backend = backend_of(self.deps, self.home)
        self.fill()

    def fill(self) -> None:
        assert isinstance(self.deps.store, MemoryStore)
        for number, (collection, key) in enumerate(KEYS.items()):
            self.deps.store.put(BUCKET, key, distinct_png(number))
            self.deps.index.create_collection(STORED[collection], SPEC)
            self.jobs[collection] = self._run_job(STORED[collection], key)

    def key_of(self, tenant: str, *roles: KeyRole, collections: tuple[str, ...] = ("*",)) -> dict[str, str]:
        """The header of a request with a new key."""
        request = KeyRequest(name=f"of {tenant}", roles=roles, tenant=tenant, collections=collections)
        return {"authorization": f"Bearer {create_key(request, self.backend.keys, ME).text}"}

    def client(self) -> TestClient:
        return client_with_keys(self.backend)

    def _run_job(self, stored: str, key: str) -> str:
        ledger = self.deps.ledger
        job = ledger.create_job(replace(request_of(), collection=stored), driver=HERE)
        ref = self.deps.store.stat(BUCKET, key)
        batch = EmbedBatch(
            job_id=job.job_id, path="0", collection=stored, fingerprint=SPEC.fingerprint, refs=(ref,)
        )
        lost = PlannedBatch(path="1", items=1, body=b"{}")
        planned = PlannedBatch(path="0", items=1, body=encode_batch(batch))
        ledger.record_plan(job.job_id, [planned, lost], cursor="z", ignored=0)
        ledger.finish_planning(job.job_id, ignored=0)
        run_batch(batch, self.deps, LIMITS)
        gone = ObjectRef(bucket=BUCKET, key=f"{key}.gone", etag="e", size_bytes=1)
        failed = Rejected(ref=gone, stage=FailedAt.FETCH, reason=Reason.NOT_FOUND, detail="gone")
        ledger.report(
            BatchReport(job_id=job.job_id, path="1", indexed=0, unchanged=0, rejected=(failed,))
        )
        return job.job_id


def image_of(collection: str) -> str:
    return image_id_of(BUCKET, KEYS[collection])
