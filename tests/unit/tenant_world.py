"""A service with keys and two tenants: `acme` has collections `images` and `secret`, `other` has `quokka`."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from starlette.testclient import TestClient

from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.api.backend import Backend
from pipeline.ingest.message import encode_batch
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.service.access import local_caller
from pipeline.service.keys import KeyRequest, create_key
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    BatchReport,
    CollectionRef,
    EmbedBatch,
    FailedAt,
    IndexRow,
    JobState,
    KeyRole,
    ObjectRef,
    PlannedBatch,
    Reason,
    Rejected,
    image_id_of,
)
from tests.accountable import NO_LOG
from tests.unit.api_client import backend_of, client_with_keys
from tests.unit.fakes import BUCKET, CONCURRENCY, HERE, LIMITS, SPEC, FakeEmbedder, distinct_png, request_of

ME = local_caller()
STORED = {"images": "tenant_acme_images", "secret": "tenant_acme_secret", "quokka": "tenant_other_quokka"}
KEYS = {"images": "images/a.png", "secret": "secret/b.png", "quokka": "quokka/c.png"}
TARGETS = {name: CollectionRef(name=stored, fingerprint=SPEC.fingerprint) for name, stored in STORED.items()}


@dataclass(frozen=True, kw_only=True)
class TenantWorld:
    deps: Deps
    backend: Backend
    client: TestClient
    jobs: Mapping[str, str]  # by collection: one that failed, and has an object that failed


class Worlds:
    """Makes one world with much work, and copies of it with little."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies = 0
        self._file = folder / "template.db"
        self.jobs: dict[str, str] = {}
        self._rows: dict[str, Sequence[IndexRow]] = {}
        with open_ledger(f"sqlite:///{self._file}") as ledger:
            deps = _deps_with(ledger)
            for name, key in KEYS.items():
                deps.index.create_collection(STORED[name], SPEC)
                ledger.book.record_fill(TARGETS[name].generation, [], filled_to=None)
                self.jobs[name] = _run_job(name, key, deps)
                self._rows[name] = deps.index.get_rows(TARGETS[name], [image_of(name)])

    def make_key(self, tenant: str, *roles: KeyRole, collections: Sequence[str] = ("*",)) -> dict[str, str]:
        """The header of a request with a new key, which worlds that are made from now on know."""
        request = KeyRequest(name=f"of {tenant}", roles=roles, tenant=tenant, collections=collections)
        with open_ledger(f"sqlite:///{self._file}") as ledger:
            return {"authorization": f"Bearer {create_key(request, ledger.keys, NO_LOG, ME).text}"}

    @contextmanager
    def world(self) -> Iterator[TenantWorld]:
        """As the template, and changed by nobody yet."""
        self._copies += 1
        copy = shutil.copy(self._file, self._folder / f"{self._copies}.db")
        with open_ledger(f"sqlite:///{copy}") as ledger:
            deps = _deps_with(ledger)
            for name, rows in self._rows.items():
                deps.index.create_collection(STORED[name], SPEC)
                deps.index.replace_images(TARGETS[name], {row.ref.image_id: [row] for row in rows})
            backend = backend_of(deps, self._folder)
            with client_with_keys(backend) as client:
                yield TenantWorld(deps=deps, backend=backend, client=client, jobs=self.jobs)


def _deps_with(ledger: SqlLedger) -> Deps:
    store = MemoryStore(BUCKET)
    for number, key in enumerate(KEYS.values()):
        store.put(BUCKET, key, distinct_png(number))
    return Deps(
        store=store, index=MemoryIndex(), embedder=FakeEmbedder(), ledger=ledger, concurrency=CONCURRENCY
    )


def _run_job(name: str, key: str, deps: Deps) -> str:
    """One object of it is indexed, and one is not there any more."""
    ledger = deps.ledger
    job_id = ledger.create_job(replace(request_of(), collection=STORED[name]), driver=HERE).job_id
    batch = EmbedBatch(
        job_id=job_id,
        path="0",
        collection=STORED[name],
        fingerprint=SPEC.fingerprint,
        refs=(deps.store.stat(BUCKET, key),),
    )
    planned = PlannedBatch(path="0", items=1, body=encode_batch(batch))
    lost = PlannedBatch(path="1", items=1, body=b"{}")
    ledger.record_plan(job_id, [planned, lost], cursor="z", ignored=0)
    ledger.finish_planning(job_id, ignored=0)
    run_batch(batch, deps, LIMITS)
    gone = ObjectRef(bucket=BUCKET, key=f"{key}.gone", etag="e", size_bytes=1)
    failed = Rejected(ref=gone, stage=FailedAt.FETCH, reason=Reason.NOT_FOUND, detail="gone")
    ledger.report(BatchReport(job_id=job_id, path="1", indexed=0, unchanged=0, rejected=(failed,)))
    ledger.set_state(job_id, JobState.FAILED)
    return job_id


def image_of(collection: str) -> str:
    return image_id_of(BUCKET, KEYS[collection])


def failed_image_of(collection: str) -> str:
    return image_id_of(BUCKET, f"{KEYS[collection]}.gone")
