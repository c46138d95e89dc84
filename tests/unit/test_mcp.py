"""The tools for assistants, called by the client of the protocol's own package."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.types import CallToolResult, ImageContent, TextContent, Tool

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.api.app import make_app
from pipeline.api.backend import Backend
from pipeline.api.middleware.callers import KeyDoor
from pipeline.client import AsyncPictor
from pipeline.errors import ArgumentError, TransientError
from pipeline.ingest.run_batch import run_batch
from pipeline.mcp.arguments import MAX_IMAGE_CHARS, read_query
from pipeline.mcp.tools import make_server
from pipeline.ports import Deps
from pipeline.service.keyring import Keyring
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import image_id_of
from tests.unit.api_client import ORIGIN, backend_of
from tests.unit.client_doors import AT_ONCE
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, distinct_png, plan_one_batch
from tests.unit.test_client import failed_job

IDS = [image_id_of(BUCKET, f"{number}.png") for number in range(3)]
Call = Callable[..., CallToolResult]


@pytest.fixture
def backend(deps: Deps, store: MemoryStore, tmp_path: Path) -> Backend:
    for number in range(3):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    run_batch(plan_one_batch(deps), deps, LIMITS)
    return backend_of(deps, tmp_path)


def caller(connect: Callable[[], AsyncPictor]) -> Call:
    def call(tool: str, **arguments: Any) -> CallToolResult:
        async def ask() -> CallToolResult:
            async with Client(make_server(connect, collection=COLLECTION)) as client:
                return await client.call_tool(tool, arguments)

        return anyio.run(ask)

    return call


@pytest.fixture
def call(backend: Backend) -> Call:
    app = make_app(backend)
    return caller(lambda: AsyncPictor(ORIGIN, transport=httpx2.ASGITransport(app), retries=AT_ONCE))


def said(result: CallToolResult) -> str:
    assert result.is_error
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def found(result: CallToolResult) -> list[str]:
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return [hit["key"] for hit in result.structured_content["hits"]]


# What is offered


def offered() -> dict[str, Tool]:
    def never() -> AsyncPictor:
        raise AssertionError("to list the tools asks no service")

    async def ask() -> list[Tool]:
        async with Client(make_server(never, collection=COLLECTION)) as client:
            return (await client.list_tools()).tools

    return {tool.name: tool for tool in anyio.run(ask)}


def test_these_tools_are_offered_with_these_arguments() -> None:
    assert {name: list(tool.input_schema["properties"]) for name, tool in offered().items()} == {
        "search_images": [
            *("query", "image_base64", "text", "unwanted"),
            *("collection", "k", "min_score", "prefix", "embedding", "purpose"),
        ],
        "show_image": ["image_id", "collection"],
        "list_collections": [],
        "job_status": ["job_id", "failures"],
    }


def test_every_tool_says_that_it_only_reads_and_what_each_argument_is() -> None:
    for tool in offered().values():
        assert tool.annotations is not None
        assert (tool.annotations.read_only_hint, tool.annotations.destructive_hint) == (True, False)
        assert tool.description
        assert all("description" in field for field in tool.input_schema["properties"].values()), tool.name


# What is answered


def test_each_way_to_give_an_example_finds_it(call: Call) -> None:
    picture = base64.b64encode(distinct_png(1)).decode()
    ways = [{"query": IDS[1]}, {"query": f"s3://{BUCKET}/1.png"}, {"image_base64": picture}]
    assert [found(call("search_images", k=1, **way)) for way in ways] == [["1.png"]] * 3
    assert found(call("search_images", query=IDS[0], prefix="2")) == ["2.png"]


def test_an_image_is_shown_as_a_picture(call: Call) -> None:
    result = call("show_image", image_id=IDS[2])
    text, picture = result.content
    assert isinstance(text, TextContent)
    assert json.loads(text.text)["key"] == "2.png"
    assert isinstance(picture, ImageContent)
    assert (picture.mime_type, base64.b64decode(picture.data)[:2]) == ("image/jpeg", b"\xff\xd8")


def test_collections_are_listed(call: Call) -> None:
    listed = call("list_collections").structured_content
    assert listed is not None
    assert [(one["name"], one["rows"]) for one in listed["collections"]] == [(COLLECTION, 3)]


@pytest.mark.parametrize(("asked", "named"), [(0, 0), (2, 2), (50, 5)])
def test_a_job_names_as_many_failures_as_are_asked_for(
    call: Call, ledger: SqlLedger, asked: int, named: int
) -> None:
    status = call("job_status", job_id=failed_job(ledger, count=5), failures=asked).structured_content
    assert status is not None
    assert (status["job"]["failed"], len(status["failures"])) == (5, named)


# What is refused


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("search_images", {"query": "0" * 32}, "not_found"),
        ("search_images", {"query": IDS[0], "collection": "none"}, "not_found"),
        ("search_images", {}, "invalid_argument: exactly one"),
        ("search_images", {"query": IDS[0], "image_base64": "aaaa"}, "invalid_argument: exactly one"),
        ("search_images", {"image_base64": "!"}, "base64 is expected"),
        ("search_images", {"image_base64": "aGVsbG8="}, "image_rejected"),
        ("search_images", {"query": IDS[0], "k": 1000}, "k"),
        ("search_images", {"query": "/etc/passwd"}, "denied"),
        ("search_images", {"query": "s3://elsewhere/a.jpg"}, "denied"),
        ("show_image", {"image_id": "../../keys"}, ""),
        ("show_image", {"image_id": "0" * 32}, "not_found"),
        ("job_status", {"job_id": "none"}, "not_found"),
        ("job_status", {"job_id": "../keys"}, ""),
    ],
)
def test_a_refusal_is_an_error_of_the_tool_in_words(
    call: Call, tool: str, arguments: dict[str, Any], expected: str
) -> None:
    assert expected in said(call(tool, **arguments))


def test_a_service_that_is_not_there_is_said() -> None:
    def connect() -> AsyncPictor:
        raise TransientError("no Pictor service is running here")

    assert said(caller(connect)("list_collections")).endswith(
        "unavailable: no Pictor service is running here"
    )


def test_a_service_that_wants_a_key_is_asked_with_the_key_of_the_settings(backend: Backend) -> None:
    app = make_app(backend, door=KeyDoor(Keyring(backend.keys)))
    without = caller(lambda: AsyncPictor(ORIGIN, transport=httpx2.ASGITransport(app), retries=AT_ONCE))
    assert "key" in said(without("list_collections"))


@pytest.mark.parametrize("purpose", ["", "case 7"])
def test_the_purpose_of_a_search_travels_with_it(purpose: str) -> None:
    seen: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers.get("x-pictor-purpose"))
        empty = {"collection": "images", "model": "m", "fingerprint": "f", "seconds": 0.1, "answers": []}
        return httpx2.Response(200, json=empty)

    call = caller(lambda: AsyncPictor(ORIGIN, transport=httpx2.MockTransport(answer)))
    assert found(call("search_images", query=IDS[0], purpose=purpose)) == []
    assert seen == [purpose or None]


@pytest.mark.parametrize("query", ["/", "file:///", "/a/../b.jpg", "/a/.."])
def test_a_path_that_is_no_file_is_refused(query: str) -> None:
    with pytest.raises(ArgumentError, match="absolute path"):
        read_query(query, "")


def test_a_picture_that_no_request_can_hold_is_refused() -> None:
    with pytest.raises(ArgumentError, match="at most"):
        read_query("", "a" * (MAX_IMAGE_CHARS + 1))
