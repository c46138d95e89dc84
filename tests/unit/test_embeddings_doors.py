"""Every door of a search takes the name of an embedding, asks that one, and says so."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import numpy as np
import pytest
from mcp import Client
from numpy.typing import NDArray
from starlette.testclient import TestClient

from pipeline.adapters.beside.index import BesideIndex
from pipeline.api.app import make_app
from pipeline.api.assembly import _warm
from pipeline.api.backend import Backend
from pipeline.cli.quick_search import read_words as read_command_line
from pipeline.cli.search_there import search_there
from pipeline.client import AsyncPictor, Words
from pipeline.errors import ArgumentError, ModelError, PictorError, PolicyError
from pipeline.ingest.run_batch import run_batch
from pipeline.mcp.tools import make_server
from pipeline.ports import Deps, ImageEmbedder, TextEmbedder
from pipeline.search.query import Bytes, Query, Stored, Text, Vector
from pipeline.service.access import local_caller
from pipeline.service.arguments import read_search
from pipeline.service.models import LoadedOnDemand, ResidentModel
from pipeline.service.search import SearchAnswer, search_images
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    LOCAL_ROLE,
    Capability,
    CollectionPolicy,
    CollectionRef,
    Justification,
    ModelBeside,
    ModelSpec,
    Purpose,
    image_id_of,
)
from tests.accountable import policy_version
from tests.unit.api_client import ORIGIN, backend_of, client_of
from tests.unit.client_doors import AT_ONCE, asked_of_app
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, SPEC, FakeEmbedder, distinct_png, plan_one_batch
from tests.unit.memory_broker import MemoryBroker, message_of
from tests.unit.test_cli_there import serving
from tests.unit.text_world import TEXT_SPEC, FakeTexts
from workers.process.context import Context, make_current

COPY_SPEC = replace(SPEC, name="copy model", address="copy", fingerprint="c0" * 32, dim=16)
KEYS = [f"{number}.png" for number in range(5)]
ID = image_id_of(BUCKET, "1.png")
SEARCH = f"/v1/collections/{COLLECTION}/search"
POLICY = CollectionPolicy(purposes=(Purpose(code="theft", text="Theft"),), roles=(LOCAL_ROLE,))
WHY = Justification(purpose="theft")
THERE_ARE = "collection 'images' has no embedding 'faces'; there are: main, copies"


class CopyEmbedder(FakeEmbedder):
    """Its order of neighbours is another one."""

    def __init__(self, spec: ModelSpec = COPY_SPEC) -> None:
        super().__init__(spec)

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows = super().embed_images(pixels) ** 3
        longer = np.pad(rows, ((0, 0), (0, self.spec.dim - rows.shape[1])))
        return np.asarray(longer / np.linalg.norm(longer, axis=1, keepdims=True), dtype=np.float32)


def two(first: ModelSpec = TEXT_SPEC, copies: ModelSpec = COPY_SPEC) -> ModelSpec:
    return replace(
        first, name="two", fingerprint="2e" * 32, beside=(ModelBeside(name="copies", spec=copies),)
    )


def world(deps: Deps, store: MemoryStore, spec: ModelSpec) -> Deps:
    for number, key in enumerate(KEYS):
        store.put(BUCKET, key, distinct_png(number))
    index = BesideIndex(MemoryIndex())
    index.create_collection(COLLECTION, spec)
    (copies,) = spec.beside
    of_two = replace(
        deps,
        index=index,
        embedder=FakeEmbedder(spec),
        beside={"copies": CopyEmbedder(copies.spec)},
        texts=FakeTexts() if spec.reads_text else None,
    )
    run_batch(plan_one_batch(of_two, spec=spec), of_two, LIMITS)
    return of_two


@pytest.fixture
def deps(deps: Deps, store: MemoryStore) -> Deps:
    return world(deps, store, two())


@pytest.fixture
def backend(deps: Deps, log: MemoryAuditLog, tmp_path: Path) -> Backend:
    return backend_of(deps, tmp_path, log=log)


def nearest_to(key: str, deps: Deps, embedding: str = "") -> list[str]:
    """By the rows themselves."""
    ids = {image_id_of(BUCKET, other): other for other in KEYS}
    rows = deps.index.get_rows(target_of(deps), list(ids), embedding=embedding)
    vectors = {ids[row.id]: row.vector for row in rows}
    return sorted(KEYS, key=lambda other: -float(vectors[key] @ vectors[other]))


def target_of(deps: Deps) -> CollectionRef:
    return deps.index.live(COLLECTION)


def test_the_two_models_have_other_neighbours(deps: Deps) -> None:
    assert nearest_to("1.png", deps) != nearest_to("1.png", deps, "copies")


# All doors: the keys of the hits in order, and which embedding the answer says, "" where it says none

Found = tuple[list[str], str]
Door = Callable[[str], Found]


def told(hits: Sequence[Mapping[str, Any]], embedding: object) -> Found:
    return [hit["key"] for hit in hits], str(embedding)


@pytest.fixture(
    params=[
        *("http", "batch", "picture", "sync client", "async client", "task"),
        *("command", "page", "page of a picture", "assistant"),
    ]
)
def door(
    request: pytest.FixtureRequest, backend: Backend, deps: Deps, broker: MemoryBroker, context: Context
) -> Iterator[Door]:
    """Each asks for the neighbours of `1.png`. Raises ArgumentError with the words of a refusal."""
    app = make_app(backend)
    with client_of(backend) as http, serving(backend) as service:

        def over_http(embedding: str) -> Found:
            return _read(http.post(SEARCH, json={"query": {"id": ID}, "embedding": embedding}))

        def in_a_batch(embedding: str) -> Found:
            body = {"queries": [{"id": ID}], "embedding": embedding}
            return _read(http.post(f"{SEARCH}/batch", json=body))

        def by_picture(embedding: str) -> Found:
            return _read(_picture(http, f"{SEARCH}/image", embedding))

        def by_client(embedding: str) -> Found:
            with asked_of_app(app, str(request.param).split()[0]) as ask:
                found = ask("search", ID, embedding=embedding)
                return [hit.key for hit in found.hits], found.embedding

        def by_task(embedding: str) -> Found:
            _, answer = broker.deliver(message_of("pictor.search", v=1, query=ID, embedding=embedding))
            if "error" in answer:
                raise ArgumentError(str(answer["error"]))
            return told(answer["hits"], answer.get("embedding", "main"))

        def by_command(embedding: str) -> Found:
            read = read_command_line(f"{ID} --collection {COLLECTION} --embedding {embedding}".split())
            assert read is not None
            queries, options, _ = read
            (answer,) = search_there(queries, options, service, None)
            return told(answer["hits"], answer.get("embedding", "main"))  # type: ignore[arg-type]

        def on_page(embedding: str) -> Found:
            return _read_page(http.get("/", params=_asked(embedding) | {"id": ID}).text)

        def on_page_of_picture(embedding: str) -> Found:
            return _read_page(_picture(http, "/results", embedding, collection=COLLECTION).text)

        def by_assistant(embedding: str) -> Found:
            result = anyio.run(lambda: _ask_tool(app, query=ID, embedding=embedding))
            if result.is_error:
                raise ArgumentError(result.content[0].text)
            return told(result.structured_content["hits"], result.structured_content["embedding"])

        make_current(replace(context, deps=deps))
        doors = {
            "http": over_http,
            "batch": in_a_batch,
            "picture": by_picture,
            "sync client": by_client,
            "async client": by_client,
            "task": by_task,
            "command": by_command,
            "page": on_page,
            "page of a picture": on_page_of_picture,
            "assistant": by_assistant,
        }
        yield doors[request.param]


def _asked(embedding: str) -> dict[str, str]:
    return {"collection": COLLECTION, "embedding": embedding}


def _picture(http: TestClient, address: str, embedding: str, **more: str) -> Any:
    headers = {"content-type": "application/octet-stream"}
    params = {"embedding": embedding, **more}
    return http.post(address, params=params, content=distinct_png(1), headers=headers)


def _read(answer: Any) -> Found:
    if answer.status_code != 200:
        raise ArgumentError(answer.json()["detail"])
    found = answer.json()
    return told(found["answers"][0]["hits"], found["embedding"])


def _read_page(page: str) -> Found:
    if said := re.search(r'role="alert">(.*?)</p>', page):
        raise ArgumentError(said[1].replace("&#39;", "'"))
    by = re.search(r"By embedding (\w+)\.", page)
    return re.findall(r'220" src=".*?" alt="(.*?)"', page), by[1] if by else "main"


async def _ask_tool(app: Any, **arguments: str) -> Any:
    def connect() -> AsyncPictor:
        return AsyncPictor(ORIGIN, transport=httpx2.ASGITransport(app), retries=AT_ONCE)

    async with Client(make_server(connect, collection=COLLECTION)) as client:
        return await client.call_tool("search_images", arguments)


@pytest.mark.parametrize("embedding", ["main", "copies"])
def test_a_door_asks_the_embedding_that_is_named_and_says_which(
    door: Door, deps: Deps, embedding: str
) -> None:
    expected = nearest_to("1.png", deps, embedding.replace("main", ""))
    assert door(embedding) == (expected, embedding)


@pytest.mark.parametrize(
    ("name", "said"), [("faces", THERE_ARE), ("Copies", "embedding name 'Copies': a-z, 0-9")]
)
def test_a_door_says_which_embeddings_there_are(door: Door, name: str, said: str) -> None:
    with pytest.raises(PictorError) as refused:
        door(name)
    assert said in str(refused.value)


# The gate


def ask(query: Query, backend: Backend, **wanted: Any) -> SearchAnswer:
    request = read_search(collection=COLLECTION, **wanted)
    (answer,) = search_images([query], request, backend.search_ports(), LIMITS, local_caller())
    return answer


STORED = Stored(text=ID, id=ID)
PICTURE = Bytes(text="picture", body=distinct_png(1))


@pytest.mark.parametrize("query", [STORED, PICTURE], ids=["stored", "picture"])
def test_pictures_and_stored_images_are_points_of_the_embedding(
    query: Query, deps: Deps, backend: Backend
) -> None:
    answer = ask(query, backend, embedding="copies", k=5)
    assert [hit.key for hit in answer.hits] == nearest_to("1.png", deps, "copies")
    assert answer.hits[0].score == pytest.approx(1)
    assert answer.embedding == "copies"


def test_hits_have_the_vectors_of_the_embedding(deps: Deps, backend: Backend) -> None:
    [hit] = ask(STORED, backend, embedding="copies", k=1, with_vector=True).hits
    [row] = deps.index.get_rows(target_of(deps), [ID], embedding="copies")
    assert hit.vector is not None
    assert (hit.vector == row.vector).all()


def test_a_vector_has_the_length_of_the_embedding(deps: Deps, backend: Backend) -> None:
    [row] = deps.index.get_rows(target_of(deps), [ID], embedding="copies")
    right = ask(Vector(text="v", values=row.vector), backend, embedding="copies")
    assert [hit.key for hit in right.hits] == nearest_to("1.png", deps, "copies")
    assert "a vector of 13 numbers is expected" in ask(Vector(text="v", values=row.vector), backend).error


def test_words_go_to_the_embedding_that_reads_them(deps: Deps, backend: Backend) -> None:
    assert not ask(Text(text="red", prompts=("red",)), backend).error
    answer = ask(Text(text="red", prompts=("red",), picture=STORED), backend, embedding="copies")
    assert answer.code == "model_unusable"
    assert answer.detail == (
        "embedding 'copies' of collection 'images' is of model 'copy model', which has images and no text; "
        "search it with a picture, or take an embedding that reads text: main"
    )


def test_words_and_pictures_are_mixed_within_a_further_embedding(
    deps: Deps, store: MemoryStore, log: MemoryAuditLog, tmp_path: Path
) -> None:
    reading = replace(TEXT_SPEC, name="reader", fingerprint="4e" * 32)
    of_two = world(deps, store, two(SPEC, reading))
    texts = replace(of_two, texts_beside={"copies": FakeTexts()})
    backend = backend_of(texts, tmp_path, log=log)
    refused = ask(Text(text="red", prompts=("red",)), backend)
    assert refused.detail.endswith("or take an embedding that reads text: copies")
    words = Text(text="red", prompts=("red",), picture=STORED)
    answer = ask(words, backend, embedding="copies")
    assert answer.hits[0].parts is not None
    assert answer.hits[0].parts.picture is not None


def test_the_record_says_which_embedding_of_which_model(
    deps: Deps, backend: Backend, log: MemoryAuditLog
) -> None:
    ask(STORED, backend, embedding="copies")
    ask(STORED, backend, embedding="main")
    with pytest.raises(ArgumentError, match="there are: main, copies"):
        ask(STORED, backend, embedding="faces")
    records = [json.loads(entry.record) for entry in log.entries() if entry.record]
    assert [record["details"].get("embedding") for record in records] == ["copies", None, "faces"]
    assert [record["outcome"] for record in records] == ["answered", "answered", "failed"]
    searched = [record["reference_db"] for record in records[:2]]
    assert [of_it["model_fingerprint"] for of_it in searched] == [
        COPY_SPEC.fingerprint,
        target_of(deps).fingerprint,
    ]
    assert len({of_it["index_generation"] for of_it in searched}) == 1


def test_a_policy_holds_for_every_embedding_of_its_collection(backend: Backend) -> None:
    backend.policies.add(policy_version(COLLECTION, replace(POLICY, max_k=2)))
    for embedding in ("main", "copies"):
        assert len(ask(STORED, backend, embedding=embedding, justification=WHY, k=2).hits) == 2
        with pytest.raises(PolicyError, match="at most 2 hits"):
            ask(STORED, backend, embedding=embedding, justification=WHY, k=3)


def test_a_similarity_is_a_cosine_of_the_embedding_and_one_that_is_not_there_is_said(
    backend: Backend,
) -> None:
    policy = replace(POLICY, min_similarity=99.0)
    backend.policies.add(policy_version(COLLECTION, policy))
    assert min(hit.score for hit in ask(STORED, backend, embedding="copies", justification=WHY).hits) >= 0.98
    with pytest.raises(ArgumentError, match="there are: main, copies"):
        ask(STORED, backend, embedding="faces", justification=WHY)


# Models


def test_each_model_is_loaded_once_by_its_own_address(deps: Deps) -> None:
    loads: list[str] = []

    def load(address: str, _precision: str) -> ImageEmbedder:
        loads.append(address)
        return CopyEmbedder() if address == "copy" else deps.embedder

    def load_texts(address: str) -> TextEmbedder:
        loads.append(f"texts of {address}")
        return FakeTexts(two())

    models = LoadedOnDemand(deps.index, load, requested="moved.toml", precision="auto", load_texts=load_texts)
    target = target_of(deps)
    for _ in range(2):
        assert models.answering(target, "copies").spec == COPY_SPEC
        assert models.answering(target).spec.name == "two"
    assert loads == ["copy", "moved.toml"]
    with pytest.raises(ArgumentError, match="there are: main, copies"):
        models.answering(target, "faces")
    loads.clear()
    _warm(COLLECTION, deps.index, models)
    assert loads == ["texts of moved.toml"], "words first; both image towers are there"


def test_a_process_of_one_model_says_what_it_has_not(deps: Deps) -> None:
    models = ResidentModel(deps.embedder, deps.index, beside=deps.beside)
    assert models.answering(target_of(deps), "copies") is deps.beside["copies"]
    with pytest.raises(ModelError):
        models.reading(target_of(deps), "copies")
    with pytest.raises(ArgumentError, match="there are: main, copies"):
        models.answering(target_of(deps), "faces")


# What is shown


def test_a_collection_shows_its_embeddings(backend: Backend) -> None:
    with client_of(backend) as http:
        (shown,) = http.get("/v1/collections").json()["collections"]
        assert shown == http.get(f"/v1/collections/{COLLECTION}").json()
        page = http.get("/", params={"collection": COLLECTION, "id": ID, "embedding": "copies"}).text
    assert [(one["name"], one["model"], one["dim"], one["reads_text"]) for one in shown["embeddings"]] == [
        ("main", "two", 13, True),
        ("copies", "copy model", 16, False),
    ]
    assert '<option value="copies" selected>copies (copy model)</option>' in page
    assert '<option value="" >main (two, reads words)</option>' in page
    more_like_this = re.findall(r'class="picture" href="(.*?)"', page)
    assert len(more_like_this) == len(KEYS)
    assert all("embedding=copies" in link for link in more_like_this)


def test_a_collection_of_one_embedding_looks_as_ever(
    context: Context, log: MemoryAuditLog, tmp_path: Path, store: MemoryStore, deps: Deps
) -> None:
    index = MemoryIndex()
    index.create_collection(COLLECTION, SPEC)
    backend = backend_of(
        replace(deps, index=index, embedder=FakeEmbedder(), beside={}, texts=None), tmp_path, log=log
    )
    with client_of(backend) as http:
        assert "embeddings" not in http.get(f"/v1/collections/{COLLECTION}").json()
        assert 'name="embedding"' not in http.get("/").text


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_clients_show_the_embeddings(backend: Backend, kind: str) -> None:
    with asked_of_app(make_app(backend), kind) as ask_client:
        shown = ask_client("show_collection", COLLECTION)
        assert [(one.name, one.reads_text) for one in shown.embeddings] == [
            ("main", True),
            ("copies", False),
        ]
        batch = ask_client("search_batch", [ID, Words("red")], embedding="copies")
    assert [answer.code for answer in batch.answers] == ["", "model_unusable"]
    assert batch.model == "copy model"
    assert Capability.TEXT not in COPY_SPEC.capabilities
