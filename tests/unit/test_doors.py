"""Every way into a search goes through the gate: routes, tasks and commands are looked for, not listed."""

import ast
import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from typer.main import get_command

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.api.app import make_app
from pipeline.api.backend import Backend
from pipeline.cli.app import app as command_line
from pipeline.errors import TransientError
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import image_id_of
from tests.conftest import REPOSITORY
from tests.unit.api_client import backend_of, client_of
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, distinct_png, plan_one_batch
from tests.unit.memory_broker import MemoryBroker, message_of
from workers.process.context import Context

CONFINED = ("pipeline", "service", "confined")
GATE = "pipeline.service.search"
SEARCH = f"/v1/collections/{COLLECTION}/search"
ID = image_id_of(BUCKET, "0.png")
PICTURE = {"content-type": "application/octet-stream"}
FILES = sorted(
    path.relative_to(REPOSITORY)
    for room in ("pipeline", "workers")
    for path in (REPOSITORY / room).rglob("*.py")
)
Function = tuple[str, str]  # module and name


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def test_nothing_but_the_gate_asks_an_index_for_its_nearest_rows() -> None:
    """Adapters make the search, what is confined hands it on, and regular expressions have their own."""
    asked = {
        (module_of(path), ast.unparse(call.func))
        for path in FILES
        if path.parts[1] not in ("adapters", "testing") and path.parts[:3] != CONFINED
        for call in ast.walk(tree_of(path))
        if isinstance(call, ast.Attribute | ast.Call)
        and isinstance(func := call.func if isinstance(call, ast.Call) else call, ast.Attribute)
        and func.attr == "search"
        and isinstance(call, ast.Call)
    }
    others = {(module, text) for module, text in asked if not is_pattern(text) and module != GATE}
    assert (GATE, "index.search") in asked
    known = {
        "ports.search",  # of the backend, see below
        "self.ports.search",  # of the backend that the gate of the endpoint holds
        "answering_tasks.search",
        "pictor.search",  # over HTTP
        "self.right_of_way.search",  # a turn
    }
    assert {text for _, text in others} <= known, "an index is asked"


def is_pattern(text: str) -> bool:
    receiver = text.removesuffix(".search")
    return receiver == "re" or receiver.strip("_").isupper()


# Which functions reach the gate


@cache
def calls() -> Mapping[Function, frozenset[Function]]:
    """The functions of the project that each of its functions names."""
    return {
        (module_of(path), function.name): frozenset(named_in(function, names_of(path)))
        for path in FILES
        for function in ast.walk(tree_of(path))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def names_of(path: Path) -> dict[str, Function]:
    """What a name means in a module: a function of its own, or what it imports."""
    tree, module = tree_of(path), module_of(path)
    known = {node.name: (module, node.name) for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            known |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    return known


def named_in(function: ast.AST, known: Mapping[str, Function]) -> Iterator[Function]:
    for node in ast.walk(function):
        match node:
            case ast.Name(id=name) if name in known:
                yield known[name]
            case ast.Attribute(value=ast.Name(id="ports"), attr=name):
                yield "pipeline.api.backend", name
            case ast.Attribute(value=ast.Name(id=place), attr=name) if place in known:
                yield f"{known[place][0]}.{known[place][1]}", name


def reaches_gate(function: Function) -> bool:
    seen, todo = set[Function](), [function]
    while todo:
        here = todo.pop()
        if here == (GATE, "search_images"):
            return True
        if here not in seen:
            seen.add(here)
            todo += calls().get(here, frozenset())
    return False


def doors() -> Iterator[tuple[str, Function]]:
    application = make_app(None)  # type: ignore[arg-type]  # no route is asked
    for route in routes_of(application.routes):
        yield (
            f"{'/'.join(sorted(route.methods or ()))} {route.path}",
            (route.endpoint.__module__, route.endpoint.__name__),
        )
    tasks = importlib.import_module("workers.tasks")
    for node in ast.parse(Path(str(tasks.__file__)).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            yield f"task {node.name}", ("workers.tasks", node.name)
    yield from commands_of(get_command(command_line), "pictor")


def routes_of(routes: Any) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        else:  # routers within routers
            yield from routes_of(getattr(getattr(route, "original_router", route), "routes", None) or ())


def commands_of(command: Any, name: str) -> Iterator[tuple[str, Function]]:
    for word, part in getattr(command, "commands", {}).items():
        yield from commands_of(part, f"{name} {word}")
    if callback := command.callback:
        function = getattr(callback, "__wrapped__", callback)
        yield name, (function.__module__, function.__name__)


# Each door, and how to knock at it


@pytest.fixture
def backend(
    deps: Deps, store: MemoryStore, log: MemoryAuditLog, ledger: SqlLedger, tmp_path: Path
) -> Backend:
    store.put(BUCKET, "0.png", distinct_png(0))
    run_batch(plan_one_batch(deps), deps, LIMITS)
    return backend_of(deps, tmp_path, log=log)


Knock = Callable[[Any], str]

OVER_HTTP: Mapping[str, Knock] = {
    "POST /v1/collections/{collection}/search": lambda c: c.post(SEARCH, json={"query": {"id": ID}}).text,
    "POST /v1/collections/{collection}/search/batch": lambda c: (
        c.post(f"{SEARCH}/batch", json={"queries": [{"id": ID}]}).text
    ),
    "POST /v1/collections/{collection}/search/image": lambda c: (
        c.post(f"{SEARCH}/image", content=distinct_png(0), headers=PICTURE).text
    ),
    "GET /": lambda c: c.get("/", params={"id": ID}).text,
    "POST /": lambda c: c.post("/", data={"id": ID}).text,
    "POST /results": lambda c: (
        c.post("/results", params={"collection": COLLECTION}, content=distinct_png(0), headers=PICTURE).text
    ),
}
OTHERS = {
    "task search",
    "pictor search",
    "pictor duplicates",  # test_duplicates.py looks at these two
    "POST /v1/collections/{collection}/duplicates",
    "POST /rekognition/CompareFaces",  # test_rekognition.py looks at these three
    "POST /rekognition/SearchFaces",
    "POST /rekognition/SearchFacesByImage",
    "POST /rekognition/SearchUsers",  # test_rekognition_users.py looks at these two
    "POST /rekognition/SearchUsersByImage",
}  # check_entries of tests/integration/test_main_path.py looks at the command


def test_every_door_that_leads_to_a_search_is_knocked_at() -> None:
    found = {name for name, function in doors() if reaches_gate(function)}
    assert found == set(OVER_HTTP) | OTHERS


@pytest.mark.parametrize("door", OVER_HTTP)
def test_a_search_over_http_is_recorded_or_not_answered(
    backend: Backend, log: MemoryAuditLog, door: str
) -> None:
    client = client_of(backend)
    answer = OVER_HTTP[door](client)
    [entry] = log.entries()
    assert "0.png" in answer
    assert entry.record_id in answer
    log.fail_next(TransientError("away"))
    refused = OVER_HTTP[door](client)
    assert "could not be recorded" in refused
    assert 'alt="0.png"' not in refused
    assert '"hits"' not in refused
    assert len(list(log.entries())) == 1


def test_a_search_by_task_is_recorded_or_not_answered(
    broker: MemoryBroker, context: Context, deps: Deps, store: MemoryStore
) -> None:
    log = context.answers_to.log
    assert isinstance(log, MemoryAuditLog)
    store.put(BUCKET, "0.png", distinct_png(0))
    run_batch(plan_one_batch(deps), deps, LIMITS)
    asked = message_of(
        "pictor.search",
        v=1,
        query=ID,
        purpose="theft",
        case="AB-1",
        on_behalf_of="Insp. Doe",
        authority="Court",
    )
    _, answer = broker.deliver(asked)
    [entry] = log.entries()
    assert entry.record is not None
    record = json.loads(entry.record)
    assert answer["receipt"] == entry.record_id
    assert record["actor"]["auth_method"] == "broker"
    assert [record[name] for name in ("purpose_code", "case_ref", "on_behalf_of")] == [
        "theft",
        "AB-1",
        "Insp. Doe",
    ]
    log.fail_next(TransientError("away"))
    _, refused = broker.deliver(asked)
    assert (refused["code"], refused["hits"]) == ("audit_unavailable", [])
