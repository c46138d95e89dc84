"""Who may ask what of a service with keys: each route, each role, and whose the thing is that it names.

`role_matrix.txt` is the table. When a change is meant, write it anew with `python -m tests.golden.test_role_matrix`
and read what has changed. A route without an example here fails.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.api.app import make_app
from pipeline.api.backend import Backend
from pipeline.api.middleware.callers import is_open
from pipeline.ports import Deps
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import JobState, KeyRole
from tests.unit.fakes import BUCKET, CONCURRENCY, FakeEmbedder, distinct_png
from tests.unit.tenant_world import ME, TenantWorld, image_of

TABLE = Path(__file__).parent / "role_matrix.txt"
ROLES = (*KeyRole, None)  # None is somebody without a key
OWN, COLLECTION, TENANT = "own", "foreign collection", "foreign tenant"
PLACES = {OWN: "images", COLLECTION: "secret", TENANT: "hidden"}
Route = tuple[str, str]
PICTURE = distinct_png(0)


@dataclass(frozen=True)
class Example:
    """A request that works for who may. `COLLECTION` in a text stands for the collection of the place."""

    params: dict[str, str] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    before: Callable[[TenantWorld, str], object] | None = None  # what must be done to the world first


def paused(world: TenantWorld, collection: str) -> None:
    world.deps.ledger.set_state(world.jobs[collection], JobState.RUNNING)
    world.deps.ledger.set_state(world.jobs[collection], JobState.PAUSED)


EXAMPLES: dict[Route, Example] = {
    ("GET", "/"): Example(params={"collection": "COLLECTION", "id": "IMAGE"}),
    ("POST", "/results"): Example(params={"collection": "COLLECTION"}, content=PICTURE),
    ("GET", "/jobs"): Example(),
    ("GET", "/jobs/{job_id}"): Example(),
    ("GET", "/sign-in"): Example(),
    ("POST", "/sign-in"): Example(content=b"key=none"),
    ("POST", "/sign-out"): Example(),
    ("GET", "/docs"): Example(),
    ("GET", "/problems"): Example(),
    ("GET", "/problems/{code}"): Example(),
    ("GET", "/livez"): Example(),
    ("GET", "/readyz"): Example(),
    ("GET", "/v1/collections"): Example(),
    ("POST", "/v1/collections"): Example(json={"name": "COLLECTION"}),
    ("GET", "/v1/collections/{name}"): Example(),
    ("DELETE", "/v1/collections/{name}"): Example(),
    ("GET", "/v1/jobs"): Example(),
    ("POST", "/v1/jobs"): Example(json={"source": f"s3://{BUCKET}/images/", "collection": "COLLECTION"}),
    ("GET", "/v1/jobs/{job_id}"): Example(),
    ("GET", "/v1/jobs/{job_id}/failures"): Example(),
    ("GET", "/v1/jobs/{job_id}/events"): Example(),
    ("POST", "/v1/jobs/{job_id}/cancel"): Example(before=paused),
    ("POST", "/v1/jobs/{job_id}/pause"): Example(),
    ("POST", "/v1/jobs/{job_id}/resume"): Example(before=paused),
    ("POST", "/v1/jobs/{job_id}/retry"): Example(),
    ("GET", "/v1/collections/{collection}/images/{image_id}"): Example(),
    ("GET", "/v1/collections/{collection}/images/{image_id}/thumbnail"): Example(),
    ("DELETE", "/v1/collections/{collection}/images/{image_id}"): Example(),
    ("POST", "/v1/collections/{collection}/search"): Example(json={"query": {"id": "IMAGE"}}),
    ("POST", "/v1/collections/{collection}/search/batch"): Example(json={"queries": [{"id": "IMAGE"}]}),
    ("POST", "/v1/collections/{collection}/search/image"): Example(content=PICTURE),
    ("GET", "/v1/keys"): Example(),
    ("POST", "/v1/keys"): Example(json={"name": "k", "roles": ["searcher"], "collections": ["COLLECTION"]}),
    ("GET", "/v1/keys/{key_id}"): Example(),
    ("DELETE", "/v1/keys/{key_id}"): Example(),
    ("POST", "/v1/keys/{key_id}/rotate"): Example(json={}),
}
