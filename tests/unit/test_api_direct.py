"""A search is answered alike on FastAPI's way from a request to arguments and on the short one.

A content type with a charset takes FastAPI's way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.api.search_bodies import SearchAnswerBody
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.testing.memory_store import MemoryStore
from tests.unit.api_client import backend_of, client_of
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, distinct_png, plan_one_batch

PATH = f"/v1/collections/{COLLECTION}/search"
SHORT, USUAL = "application/json", "application/json; charset=utf-8"
GOOD = (
    '{"query": {"id": "ID"}}',
    '{"query": {"id": "ID"}, "k": 3, "min_score": 0, "with_vector": true}',
    '{"query": {"id": "ID"}, "filter": {"prefix": "1", "bucket": "photos"}}',
    '{"query": {"id": "ID"}, "k": "2", "justification": {"purpose": "audit", "case": "7"}}',
    '{"query": {"id": "ID"}, "k": 1, "k": 2}',
    '{"query": {"id": "ID"}, "group_by": "image"}',
)
BAD = (
    "",
    "{",
    "[]",
    "null",
    '"text"',
    "{}",
    '{"query": {}}',
    '{"query": {"id": "ID"}, "k": 0}',
    '{"query": {"id": "ID"}, "k": 1.5}',
    '{"query": {"id": "ID"}, "colour": 1}',
    '{"query": {"id": "short"}}',
    '{"query": {"id": "00000000000000000000000000000000"}}',
    '{"query": {"id": "ID", "vector": [1]}}',
    '{"query": {"vector": [NaN]}}',
    '{"query": {"vector": [1e999]}}',
    '{"query": {"id": "ID"}, "min_score": NaN}',
    '{"query": {"id": "ID"}, "filter": {"prefix": "\\ud800"}}',
    '{"query": {"image": "no base64"}}',
)
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"x-pictor-purpose": "audit", "x-pictor-case": "Zürich 7"},
    {"x-pictor-authority": "a" * 100},
    {"x-pictor-authority": "a" * 101},
    {"x-pictor-offence": "\x07"},
)


@dataclass(frozen=True, kw_only=True)
class Service:
    client: TestClient
    image_id: str

    def ask(self, body: str, content_type: str, more: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Without what differs between two answers to the same."""
        headers = {name: text.encode() for name, text in {"content-type": content_type, **more}.items()}
        asked = body.replace("ID", self.image_id)
        response = self.client.post(PATH, content=asked, headers=headers)  # type: ignore[arg-type]
        told = response.json()
        if response.status_code == 200:
            SearchAnswerBody.model_validate(told)
        for name in ("request_id", "seconds", "stage_seconds"):
            told.pop(name, None)
        for answer in told.get("answers", ()):
            assert answer.pop("receipt")
            assert answer.pop("inclusion")
        return response.status_code, told


@pytest.fixture
def service(deps: Deps, store: MemoryStore, tmp_path: Path) -> Iterator[Service]:
    for number in range(3):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    batch = plan_one_batch(deps)
    run_batch(batch, deps, LIMITS)
    with client_of(backend_of(deps, tmp_path)) as client:
        yield Service(client=client, image_id=batch.refs[0].image_id)


@pytest.mark.parametrize("body", GOOD)
def test_what_is_well_formed_is_answered_alike(service: Service, body: str) -> None:
    status, told = service.ask(body, SHORT, {})
    assert status == 200
    assert (status, told) == service.ask(body, USUAL, {})


@pytest.mark.parametrize("body", BAD)
def test_what_is_not_is_refused_in_the_same_words(service: Service, body: str) -> None:
    status, told = service.ask(body, SHORT, {})
    assert 400 <= status < 500
    assert (status, told) == service.ask(body, USUAL, {})


@pytest.mark.parametrize("headers", HEADERS)
def test_what_headers_state_is_taken_alike(service: Service, headers: dict[str, str]) -> None:
    assert service.ask(GOOD[0], SHORT, headers) == service.ask(GOOD[0], USUAL, headers)


def test_a_body_that_is_not_said_to_be_json_is_refused(service: Service) -> None:
    status, _ = service.ask(GOOD[0], "text/plain", {})
    assert status == 422


def test_no_field_of_an_answer_is_missing_from_its_description(service: Service) -> None:
    answer = service.client.post(PATH, json={"query": {"id": service.image_id}, "with_vector": True}).json()
    assert SearchAnswerBody.model_validate(answer).model_dump(mode="json", exclude_none=True) == answer
