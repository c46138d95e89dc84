"""Vectors of pictures over HTTP, in the shape of OpenAI's API."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from starlette.testclient import TestClient

from pipeline.api.backend import Backend
from pipeline.ports import Deps
from pipeline.types import KeyRole
from tests.unit.api_client import backend_of, client_of, client_with_keys, key_for
from tests.unit.fakes import COLLECTION, OTHER_SPEC, SPEC, FakeEmbedder, distinct_png


@pytest.fixture
def backend(deps: Deps, tmp_path: Path) -> Backend:
    deps.index.create_collection(COLLECTION, SPEC)
    return backend_of(deps, tmp_path)


@pytest.fixture
def client(backend: Backend) -> Iterator[TestClient]:
    with client_of(backend) as client:
        yield client


def plain(number: int) -> str:
    return base64.b64encode(distinct_png(number)).decode()


def ask(client: TestClient, given: object, **more: Any) -> httpx2.Response:
    return client.post("/v1/embeddings", json={"model": SPEC.name, "input": given} | more)


def test_each_picture_has_its_vector_in_order_whether_as_data_url_or_base64(client: TestClient) -> None:
    answer = ask(client, [plain(1), f"data:image/png;base64,{plain(2)}", plain(1)], user="somebody").json()
    assert (answer["object"], answer["model"]) == ("list", SPEC.name)
    assert answer["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
    assert [(each["object"], each["index"]) for each in answer["data"]] == [
        ("embedding", n) for n in range(3)
    ]
    first, second, third = (each["embedding"] for each in answer["data"])
    assert first == third != second
    assert np.linalg.norm(first) == pytest.approx(1)
    assert ask(client, plain(1)).json()["data"][0]["embedding"] == first


def test_numbers_come_as_bytes_where_a_client_asks_for_them(client: TestClient) -> None:
    numbers = ask(client, plain(1)).json()["data"][0]["embedding"]
    encoded = ask(client, plain(1), encoding_format="base64").json()["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(encoded), dtype="<f4").tolist() == pytest.approx(numbers)


def test_a_model_is_found_in_whatever_collection_has_it(client: TestClient, deps: Deps) -> None:
    deps.index.drop_collection(COLLECTION)
    deps.index.create_collection("other", SPEC)
    assert ask(client, plain(1)).status_code == 200


REFUSED: dict[str, tuple[object, dict[str, Any], int, str, str]] = {
    "a text": ("a photo of a cat", {}, 400, "invalid_argument", "texts are not embedded here"),
    "a text in a data URL": ("data:text/plain;base64,aGk=", {}, 400, "invalid_argument", "input[0]"),
    "a second text": ([plain(1), "cat!"], {}, 400, "invalid_argument", "input[1] 'cat!'"),
    "no picture": ("aGVsbG8=", {}, 422, "image_rejected", "input[0]: "),
    "tokens": ([1, 2], {}, 422, "invalid_request", "input"),
    "nothing": ([], {}, 422, "invalid_request", "input"),
    "too many": ([plain(1)] * 101, {}, 422, "invalid_request", "input"),
    "another model": (plain(1), {"model": "clip"}, 404, "not_found", "model 'clip'; there are: fake"),
    "another length": (plain(1), {"dimensions": 5}, 400, "invalid_argument", "vectors of this model have 13"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_embedded_is_refused_with_the_reason(client: TestClient, name: str) -> None:
    given, more, status, code, said = REFUSED[name]
    answer = ask(client, given, **more)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert said in answer.json()["detail"]


def test_a_model_of_a_generation_that_does_not_answer_is_not_loaded(client: TestClient, deps: Deps) -> None:
    deps.index.open_generation(COLLECTION, OTHER_SPEC)
    assert ask(client, plain(1), model=OTHER_SPEC.name).status_code == 404


def test_only_who_may_search_the_collection_may_embed(backend: Backend, embedder: FakeEmbedder) -> None:
    with client_with_keys(backend) as client:
        for headers in (
            key_for(backend, KeyRole.AUDITOR),
            key_for(backend, KeyRole.SEARCHER, collections=("others",)),
        ):
            body = {"model": SPEC.name, "input": plain(1)}
            assert client.post("/v1/embeddings", json=body, headers=headers).status_code in (403, 404)
    assert embedder.calls == []
