"""Words on every door: each reads its fields, and says the same of what cannot be."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from starlette.testclient import TestClient

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.api.app import make_app
from pipeline.api.backend import Backend
from pipeline.cli.quick_search import read_words as read_command_line
from pipeline.cli.search_options import SearchOptions
from pipeline.cli.search_there import search_there
from pipeline.client import AsyncPictor, Words
from pipeline.errors import ArgumentError, ModelError, PictorError
from pipeline.ingest.run_batch import run_batch
from pipeline.mcp.tools import make_server
from pipeline.ports import Deps
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import LOCAL_ROLE, CollectionPolicy, Purpose, image_id_of
from tests.accountable import policy_version
from tests.unit import text_world
from tests.unit.api_client import ORIGIN, backend_of, client_of
from tests.unit.client_doors import AT_ONCE, KINDS, asked_of_app
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, SPEC, FakeEmbedder, plan_one_batch
from tests.unit.memory_broker import MemoryBroker, message_of
from tests.unit.test_api_pages import hits_of
from tests.unit.test_cli_there import ServiceHere, serving
from tests.unit.text_world import PICTURES
from workers.process.context import Context, make_current

SEARCH = f"/v1/collections/{COLLECTION}/search"
RED_ID = image_id_of(BUCKET, "red.png")
LONG = "red " * 7
IMAGES_ONLY = "which has images and no text"

index, embedder, deps = text_world.index, text_world.embedder, text_world.deps


@pytest.fixture
def backend(deps: Deps, log: MemoryAuditLog, tmp_path: Path) -> Backend:
    return backend_of(deps, tmp_path, log=log)


@pytest.fixture
def client(backend: Backend) -> Iterator[TestClient]:
    with client_of(backend) as client:
        yield client


@pytest.fixture
def images_only(store: MemoryStore, ledger: SqlLedger, tmp_path: Path) -> Backend:
    index = MemoryIndex()
    index.create_collection(COLLECTION, SPEC)
    deps = Deps(store=store, index=index, embedder=FakeEmbedder(), ledger=ledger)
    store.put(BUCKET, "red.png", PICTURES["red.png"])
    run_batch(plan_one_batch(deps), deps, LIMITS)
    return backend_of(deps, tmp_path)


# HTTP


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ({"text": "red"}, "red.png"),
        ({"text": ["red"]}, "red.png"),
        ({"text": ["red", "blue"]}, "purple.png"),
        ({"text": "blue", "id": RED_ID}, "purple.png"),
        ({"text": "blue", "object": {"bucket": BUCKET, "key": "red.png"}}, "purple.png"),
        ({"text": "blue", "id": RED_ID, "weights": {"picture": 100}}, "red.png"),
        ({"id": image_id_of(BUCKET, "purple.png"), "not": "blue", "weights": {"not": 0.9}}, "red.png"),
    ],
)
def test_words_over_http(client: TestClient, query: dict[str, Any], first: str) -> None:
    answer = client.post(SEARCH, json={"query": query, "k": 3})
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["answers"]
    assert found["hits"][0]["key"] == first
    several = len(query.get("text", ())) > 1 if isinstance(query.get("text"), list) else len(query) > 1
    assert ("parts" in found["hits"][0]) == several


def test_parts_have_the_names_of_the_query(client: TestClient) -> None:
    query = {"text": ["red", "white"], "not": ["green"], "id": RED_ID}
    (answer,) = client.post(SEARCH, json={"query": query}).json()["answers"]
    for hit in answer["hits"]:
        assert {name: len(scores) for name, scores in hit["parts"].items() if name != "picture"} == {
            "text": 2,
            "not": 1,
        }
        assert -1 <= hit["parts"]["picture"] <= 1


def test_a_batch_of_words_and_pictures(client: TestClient) -> None:
    queries = [{"text": "green"}, {"id": RED_ID}, {"text": LONG}, {"text": "blue", "not": "red"}]
    answers = client.post(f"{SEARCH}/batch", json={"queries": queries, "k": 1}).json()["answers"]
    assert [answer["hits"][0]["key"] if answer["hits"] else answer["code"] for answer in answers] == [
        "green.png",
        "red.png",
        "invalid_argument",
        "blue.png",
    ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "exactly one of id, object, image, vector and person is expected, or text, found none"),
        ({"text": ""}, "text '' is empty"),
        ({"text": "   "}, "is empty; words are expected"),
        ({"text": "x" * 10_000}, "10000 characters, at most 1000 are allowed"),
        ({"text": "a\u0007b"}, "U+0007 is no character of a text"),
        ({"text": LONG}, "is 9 tokens, and model 'two towers' reads at most 8"),
        ({"text": []}, "nothing to search with"),
        ({"not": "red"}, "a text or a picture beside it is expected"),
        ({"text": ["red"] * 17}, "17 texts; at most 16 are allowed"),
        ({"text": "red", "weights": {"not": 1}}, "weight of 'not': the query has text"),
        ({"text": "red", "weights": {"text": 0}}, "greater than 0"),
        ({"text": "red", "weights": {"words": 1}}, "words"),
        ({"text": "red", "not": "red", "weights": {"not": 1}}, "cancel each other out"),
    ],
)
def test_what_cannot_be_is_said_over_http(client: TestClient, query: dict[str, Any], said: str) -> None:
    answer = client.post(SEARCH, json={"query": query})
    assert answer.status_code in (400, 422)
    assert said in answer.text


def test_a_collection_of_images_alone_is_422_with_its_model(images_only: Backend) -> None:
    answer = client_of(images_only).post(SEARCH, json={"query": {"text": "red"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "model_unusable")
    assert f"collection 'images' is of model 'fake', {IMAGES_ONLY}" in answer.json()["detail"]


# The page


def test_the_page_has_a_field_for_words_where_the_model_reads_text(
    client: TestClient, images_only: Backend
) -> None:
    assert 'name="text"' in client.get("/").text
    without = client_of(images_only).get("/").text
    assert 'name="text"' not in without
    assert 'name="not"' not in without


def test_words_of_the_page_find_images_and_stand_in_no_address(client: TestClient) -> None:
    asked = {"collection": COLLECTION, "text": "Jane red", "not": "blue"}
    page = client.post("/", data=asked)
    assert (page.status_code, hits_of(page.text)) == (200, 6)
    assert page.text.index('alt="red.png"') < page.text.index('alt="blue.png"')
    links = [part.split('"')[0] for part in page.text.split('href="')[1:]]
    assert not [link for link in links if "Jane" in link]
    assert 'value="Jane red"' in page.text, "to be changed and sent again"
    assert 'method="post"' in page.text


def test_words_of_the_page_go_with_a_stored_image_and_with_a_picture(client: TestClient) -> None:
    both = client.post("/", data={"collection": COLLECTION, "id": RED_ID, "text": "blue"}).text
    sent = client.post(
        "/results",
        params={"collection": COLLECTION},
        content=PICTURES["red.png"],
        headers={"x-pictor-text": "blue"},
    ).text
    for page in (both, sent):
        first = min(page.index(f'alt="{key}"') for key in PICTURES)
        assert page.index('alt="purple.png"') == first


def test_odd_words_are_shown_as_text(client: TestClient) -> None:
    page = client.post("/", data={"collection": COLLECTION, "text": "<script>x</script>"}).text
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page


@pytest.mark.parametrize("text", ["x" * 1500, LONG, "a\u0007b"], ids=["long", "tokens", "bell"])
def test_what_cannot_be_is_said_on_the_page(client: TestClient, text: str) -> None:
    page = client.post("/", data={"collection": COLLECTION, "text": text}).text
    assert 'role="alert"' in page
    assert hits_of(page) == 0


def test_words_under_a_policy_need_its_purpose(client: TestClient, backend: Backend) -> None:
    policy = CollectionPolicy(purposes=(Purpose(code="theft", text="Theft"),), roles=(LOCAL_ROLE,))
    backend.policies.add(policy_version(COLLECTION, policy))
    asked = {"collection": COLLECTION, "text": "red"}
    refused = client.post("/", data=asked)
    assert (refused.status_code, hits_of(refused.text)) == (403, 0)
    assert hits_of(client.post("/", data=asked | {"purpose": "theft"}).text) == 6
    over_http = client.post(SEARCH, json={"query": {"text": "red"}})
    assert (over_http.status_code, over_http.json()["code"]) == (403, "refused_by_policy")


# The task


@pytest.fixture
def ask_task(broker: MemoryBroker, context: Context) -> Callable[..., dict[str, Any]]:
    def ask(**arguments: Any) -> dict[str, Any]:
        _, answer = broker.deliver(message_of("pictor.search", v=1, **arguments))
        return dict(answer)

    return ask


def test_words_by_task(ask_task: Callable[..., dict[str, Any]]) -> None:
    assert ask_task(text=["red"])["hits"][0]["key"] == "red.png"
    both = ask_task(query=f"s3://{BUCKET}/red.png", text=["blue"], weights={"picture": 1.0})
    assert both["hits"][0]["key"] == "purple.png"
    assert set(both["hits"][0]["parts"]) == {"text", "picture"}
    assert ask_task(text=["red", "blue"], **{"not": ["blue"]})["hits"][0]["key"] == "red.png"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "nothing to search with"),
        ({"text": [""]}, "text '' is empty"),
        ({"text": ["x" * 10_000]}, "10000 characters"),
        ({"text": ["a\0b"]}, "U+0000"),
        ({"text": [LONG]}, "is 9 tokens"),
        ({"text": "red"}, "text"),
        ({"text": ["red"], "weights": {"words": 1.0}}, "weight of 'words'"),
    ],
)
def test_what_cannot_be_is_said_by_the_task(
    ask_task: Callable[..., dict[str, Any]], arguments: dict[str, Any], said: str
) -> None:
    answer = ask_task(**arguments)
    assert answer["hits"] == []
    assert said in answer["error"]


def test_a_worker_of_images_alone_says_so(
    broker: MemoryBroker, context: Context, ledger: SqlLedger, store: MemoryStore
) -> None:
    index = MemoryIndex()
    index.create_collection(COLLECTION, SPEC)
    deps = Deps(store=store, index=index, embedder=FakeEmbedder(), ledger=ledger)
    make_current(replace(context, deps=deps))
    _, answer = broker.deliver(message_of("pictor.search", v=1, text=["red"]))
    assert answer["code"] == "model_unusable"
    assert IMAGES_ONLY in answer["error"]


# Python


@pytest.mark.parametrize("kind", KINDS)
def test_words_by_the_clients(backend: Backend, kind: str, tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    file.write_bytes(PICTURES["red.png"])
    queries = [
        Words("red"),
        Words(["red", "blue"]),
        Words("blue", picture=file),
        Words(picture=image_id_of(BUCKET, "purple.png"), unwanted="blue", weights={"not": 0.9}),
    ]
    with asked_of_app(make_app(backend), kind) as ask:
        assert [ask("search", query, k=1).hits[0].key for query in queries] == [
            "red.png",
            "purple.png",
            "purple.png",
            "red.png",
        ]
        batch = ask("search_batch", queries[1:], k=1)
        assert [list(answer.hits[0].parts) for answer in batch.answers] == [
            ["text"],
            ["text", "picture"],
            ["not", "picture"],
        ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("words", "error"),
    [(Words(""), ArgumentError), (Words(), ArgumentError), (Words(LONG), ArgumentError)],
)
def test_what_cannot_be_is_an_error_of_the_clients(
    backend: Backend, kind: str, words: Words, error: type[PictorError]
) -> None:
    with asked_of_app(make_app(backend), kind) as ask, pytest.raises(error):
        ask("search", words)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_images_alone_is_its_own_error_of_the_clients(images_only: Backend, kind: str) -> None:
    with asked_of_app(make_app(images_only), kind) as ask, pytest.raises(ModelError, match=IMAGES_ONLY):
        ask("search", Words("red"))


# Commands


@pytest.fixture
def service(backend: Backend) -> Iterator[ServiceHere]:
    with serving(backend) as service:
        yield service


def options(line: str) -> tuple[list[str], SearchOptions]:
    read = read_command_line(line.split())
    assert read is not None
    queries, wanted, _ = read
    return queries, replace(wanted, collection=COLLECTION, k=1)


@pytest.mark.parametrize(
    ("line", "first", "told"),
    [
        ("--text red", "red.png", "red"),
        ("--text red --text blue", "purple.png", "red; blue"),
        (f"{RED_ID} --text blue", "purple.png", f"blue; {RED_ID}"),
        (
            f"s3://{BUCKET}/red.png --text blue --weight picture=100",
            "red.png",
            f"blue; s3://{BUCKET}/red.png",
        ),
        ("--text red --text blue --not blue --weight not=0.9", "red.png", "red; blue; not blue"),
    ],
)
def test_words_by_the_command(service: ServiceHere, line: str, first: str, told: str) -> None:
    (answer,) = search_there(*options(line), service, None)
    hits = json.loads(json.dumps(answer["hits"]))
    assert (hits[0]["key"], answer["query"]) == (first, told)


def test_words_go_with_each_query_of_a_command(service: ServiceHere) -> None:
    green = image_id_of(BUCKET, "green.png")
    answers = search_there(*options(f"{RED_ID} {green} --text blue"), service, None)
    assert [answer["query"] for answer in answers] == [f"blue; {RED_ID}", f"blue; {green}"]


@pytest.mark.parametrize(
    "line", ["--text red --weight much", "--text red --weight words=1", "--text red --weight text=x"]
)
def test_a_weight_that_is_none_is_said_without_the_service(service: ServiceHere, line: str) -> None:
    with pytest.raises(ArgumentError, match="weight"):
        search_there(*options(line), service, None)


# Assistants


def test_words_by_the_tool(backend: Backend) -> None:
    app = make_app(backend)

    async def ask(**arguments: Any) -> Any:
        def connect() -> AsyncPictor:
            return AsyncPictor(ORIGIN, transport=httpx2.ASGITransport(app), retries=AT_ONCE)

        async with Client(make_server(connect, collection=COLLECTION)) as client:
            return await client.call_tool("search_images", {"k": 1, **arguments})

    def first(**arguments: Any) -> str:
        result = anyio.run(lambda: ask(**arguments))
        assert not result.is_error, result.content
        return str(result.structured_content["hits"][0]["key"])

    assert first(text="red") == "red.png"
    assert first(query=RED_ID, text="blue") == "purple.png"
    assert first(query=image_id_of(BUCKET, "purple.png"), unwanted="blue", text="red") == "red.png"
    refused = anyio.run(lambda: ask())
    assert refused.is_error
