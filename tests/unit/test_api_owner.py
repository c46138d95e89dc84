"""The owner of a service: a command of the same user, who has the token of its file."""

import asyncio
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pipeline.api.app import make_app
from pipeline.api.backend import Backend
from pipeline.api.middleware.callers import Door, KeyDoor, OpenDoor
from pipeline.api.middleware.owner import OwnerDoor
from pipeline.ports import Deps
from pipeline.service.keyring import Keyring
from pipeline.testing.memory_store import MemoryStore
from tests.unit.api_client import ORIGIN, backend_of
from tests.unit.fakes import BUCKET, COLLECTION, distinct_png
from tests.unit.test_api_middleware import scope_of

TOKEN = "t" * 43
SEARCH = f"/v1/collections/{COLLECTION}/search"
QUERY = {"query": {"object": {"bucket": BUCKET, "key": "0.png"}}}


@pytest.fixture
def backend(deps: Deps, store: MemoryStore, tmp_path: Path) -> Backend:
    store.put(BUCKET, "0.png", distinct_png(0))
    return backend_of(deps, tmp_path, allowed=())  # no place but for the owner


def doors(backend: Backend) -> dict[str, Door]:
    return {"open": OpenDoor(), "keys": KeyDoor(Keyring(backend.keys))}


def asked(backend: Backend, door: str, authorization: str) -> TestClient:
    app = make_app(backend, door=OwnerDoor(doors(backend)[door], token=TOKEN))
    return TestClient(app, base_url=ORIGIN, headers={"authorization": authorization} if authorization else {})


@pytest.mark.parametrize("door", ["open", "keys"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_owner_may_name_every_place(backend: Backend, door: str, scheme: str) -> None:
    with asked(backend, door, f"{scheme} {TOKEN}") as client:
        assert client.post(SEARCH, json=QUERY).status_code == 200
        submitted = client.post("/v1/jobs", json={"source": f"s3://{BUCKET}/", "collection": COLLECTION})
        assert submitted.status_code == 202, submitted.text


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}"]
)
@pytest.mark.parametrize(("door", "status"), [("open", 403), ("keys", 401)])
def test_nobody_else_may(backend: Backend, door: str, status: int, authorization: str) -> None:
    with asked(backend, door, authorization) as client:
        assert client.post(SEARCH, json=QUERY).status_code == status


def test_what_one_request_may_no_other_may(backend: Backend) -> None:
    with asked(backend, "open", "") as client:
        owner = {"authorization": f"Bearer {TOKEN}"}
        statuses = [client.post(SEARCH, json=QUERY, headers=h).status_code for h in ({}, owner, {})]
    assert statuses == [403, 200, 403]


@pytest.mark.parametrize("door", ["open", "keys"])
def test_the_owner_says_on_whose_behalf_they_ask(backend: Backend, door: str) -> None:
    """`pictor search --on-behalf-of` beside a service is recorded as it is without one."""
    scope = scope_of({"authorization": f"Bearer {TOKEN}", "x-pictor-on-behalf-of": "Ann"})
    caller = asyncio.run(OwnerDoor(doors(backend)[door], token=TOKEN).caller_of(scope))
    assert caller.on_behalf_of == "Ann"
