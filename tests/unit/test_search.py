"""From queries to hits."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import DeniedError, ModelMismatchError, TransientError
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps, ImageEmbedder, TextEmbedder, ViewFinder
from pipeline.search.query import Bytes, Object, Query, Stored, Vector
from pipeline.service.access import Caller, Permission, local_caller
from pipeline.service.models import ResidentModel
from pipeline.service.search import (
    QUERIES_AT_ONCE,
    SearchAnswer,
    SearchPorts,
    SearchRequest,
    search_images,
)
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import CollectionRef, EmbedBatch, IndexRow, SearchFilter, SearchHit, image_id_of
from tests.accountable import accountability
from tests.unit.fakes import (
    BLACK,
    BUCKET,
    COLLECTION,
    LIMITS,
    OTHER_SPEC,
    SPEC,
    TARGET,
    FakeEmbedder,
    distinct_png,
    is_dark,
    plan_one_batch,
    png,
)

KEYS = [f"{number}.png" for number in range(6)]
MISSING_ID = "0" * 32


class CountingIndex(MemoryIndex):
    """Notes how many vectors each search was asked for. `lags`: a cheap look does not see the rows yet."""

    def __init__(self) -> None:
        super().__init__()
        self.searches: list[int] = []
        self.lags = False

    def get_rows(
        self, ref: CollectionRef, ids: Sequence[str], *, latest: bool = True, embedding: str = ""
    ) -> list[IndexRow]:
        return super().get_rows(ref, ids, embedding=embedding) if latest or not self.lags else []

    def search(
        self,
        ref: CollectionRef,
        vectors: NDArray[np.float32],
        *,
        k: int,
        where: SearchFilter | None = None,
        min_score: float | None = None,
        embedding: str = "",
    ) -> list[list[SearchHit]]:
        self.searches.append(len(vectors))
        return super().search(ref, vectors, k=k, where=where, min_score=min_score, embedding=embedding)


@pytest.fixture
def index() -> CountingIndex:
    index = CountingIndex()
    index.create_collection(COLLECTION, SPEC)
    return index


@pytest.fixture
def search_ports(deps: Deps, store: MemoryStore) -> SearchPorts:
    for number, key in enumerate(KEYS):
        store.put(BUCKET, key, distinct_png(number), {"parity": str(number % 2)})
    refs = tuple(store.list_objects(BUCKET))
    batch = EmbedBatch(job_id="j", path="0", collection=COLLECTION, fingerprint=SPEC.fingerprint, refs=refs)
    run_batch(batch, deps, LIMITS)
    return SearchPorts(
        store=store,
        index=deps.index,
        answers_to=accountability(deps.index),
        models=ResidentModel(deps.embedder, deps.index),
    )


class NoModel:
    def answering(self, target: CollectionRef, embedding: str = "") -> ImageEmbedder:
        raise AssertionError("the model is not needed")

    def reading(self, target: CollectionRef, embedding: str = "") -> TextEmbedder:
        raise AssertionError("the model is not needed")

    def finding(self, target: CollectionRef) -> ViewFinder | None:
        raise AssertionError("the model is not needed")


def by_key(key: str) -> Object:
    return Object(text=f"s3://{BUCKET}/{key}", bucket=BUCKET, key=key)


def by_id(key: str) -> Stored:
    id_ = image_id_of(BUCKET, key)
    return Stored(text=id_, id=id_)


def search(
    queries: Sequence[Query],
    deps: SearchPorts,
    *,
    k: int = 1,
    min_score: float | None = None,
    where: SearchFilter | None = None,
) -> list[SearchAnswer]:
    request = SearchRequest(collection=COLLECTION, k=k, min_score=min_score, where=where or SearchFilter())
    return list(search_images(queries, request, deps, LIMITS, local_caller()))


def first_keys(answers: Sequence[SearchAnswer]) -> list[str]:
    return [answer.hits[0].key if answer.hits else answer.error.split(":")[0] for answer in answers]


def test_an_indexed_image_finds_itself_first(search_ports: SearchPorts) -> None:
    [answer] = search([by_key("3.png")], search_ports, k=6)
    assert answer.query == f"s3://{BUCKET}/3.png"
    assert answer.location == (BUCKET, "3.png")
    assert answer.error == ""
    assert answer.hits[0].key == "3.png"
    assert answer.hits[0].score == pytest.approx(1)
    assert sorted(hit.key for hit in answer.hits) == KEYS
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)


def test_answers_come_in_the_order_of_the_queries_of_whatever_kind(search_ports: SearchPorts) -> None:
    queries: list[Query] = [by_key("5.png"), by_id("0.png"), by_key("1.png"), by_id("4.png"), by_key("2.png")]
    answers = search(queries, search_ports)
    assert first_keys(answers) == ["5.png", "0.png", "1.png", "4.png", "2.png"]
    assert [answer.query for answer in answers] == [query.text for query in queries]
    assert [answer.location for answer in answers] == [
        (BUCKET, key) for key in ("5.png", "0.png", "1.png", "4.png", "2.png")
    ]


def test_a_query_that_is_asked_twice_is_answered_twice(search_ports: SearchPorts) -> None:
    queries: list[Query] = [by_key("2.png"), by_id("3.png"), by_key("2.png"), by_id("3.png"), by_key("2.png")]
    assert first_keys(search(queries, search_ports)) == ["2.png", "3.png", "2.png", "3.png", "2.png"]


class ReplacedMeanwhile(MemoryIndex):
    """Between a search and the look after it, the second best hit becomes another version."""

    def get_rows(
        self, ref: CollectionRef, ids: Sequence[str], *, latest: bool = True, embedding: str = ""
    ) -> list[IndexRow]:
        rows = super().get_rows(ref, ids, latest=latest, embedding=embedding)
        changed = image_id_of(BUCKET, "2.png")
        return [replace(row, ref=replace(row.ref, etag="new")) if row.id == changed else row for row in rows]


def test_a_vector_of_another_version_is_not_given_out(deps: Deps, store: MemoryStore) -> None:
    index = ReplacedMeanwhile()
    index.create_collection(COLLECTION, SPEC)
    for number in (1, 2):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    run_batch(plan_one_batch(replace(deps, index=index)), replace(deps, index=index), LIMITS)
    ports = SearchPorts(
        store=store, index=index, answers_to=accountability(index), models=ResidentModel(deps.embedder, index)
    )
    request = SearchRequest(collection=COLLECTION, with_vector=True)
    [answer] = search_images([by_id("1.png")], request, ports, LIMITS, local_caller())
    assert [hit.vector is not None for hit in answer.hits] == [True, False]


def test_a_stored_id_needs_neither_the_model_nor_the_object(
    search_ports: SearchPorts, store: MemoryStore
) -> None:
    store.delete(BUCKET, "3.png")
    deps = SearchPorts(
        store=store, index=search_ports.index, answers_to=accountability(search_ports.index), models=NoModel()
    )
    assert first_keys(search([by_id("3.png")], deps)) == ["3.png"]


def test_faults_cost_nobody_else_s_answer(
    search_ports: SearchPorts, store: MemoryStore, embedder: FakeEmbedder
) -> None:
    embedder.answer_with(float("nan"), is_dark)
    store.put(BUCKET, "text.jpg", b"no picture, but a text of some length")
    store.put(BUCKET, "dark.png", png(BLACK))
    queries: list[Query] = [
        by_key("no-such.png"),
        by_key("1.png"),
        Stored(text=MISSING_ID, id=MISSING_ID),
        by_key("text.jpg"),
        by_id("2.png"),
        by_key("dark.png"),
        by_key("3.png"),
    ]
    answers = search(queries, search_ports)
    assert first_keys(answers) == [
        "not_found",
        "1.png",
        "not_found",
        "not_an_image",
        "2.png",
        "not_finite",
        "3.png",
    ]
    assert [bool(answer.error) for answer in answers] == [not answer.hits for answer in answers]
    assert MISSING_ID in answers[2].error
    assert COLLECTION in answers[2].error


def test_when_every_query_is_at_fault_neither_model_nor_index_is_searched(
    search_ports: SearchPorts, store: MemoryStore, index: CountingIndex
) -> None:
    deps = SearchPorts(store=store, index=index, answers_to=accountability(index), models=NoModel())
    answers = search([by_key("no-such.png"), Stored(text=MISSING_ID, id=MISSING_ID)], deps)
    assert first_keys(answers) == ["not_found", "not_found"]
    assert index.searches == []


def test_no_queries_give_no_answers(search_ports: SearchPorts) -> None:
    assert search([], search_ports) == []


def test_many_queries_are_searched_in_chunks(search_ports: SearchPorts, index: CountingIndex) -> None:
    keys = [KEYS[number % 6] for number in range(2 * QUERIES_AT_ONCE + 5)]
    answers = search([by_id(key) for key in keys], search_ports)
    assert first_keys(answers) == keys
    assert index.searches == [QUERIES_AT_ONCE, QUERIES_AT_ONCE, 5]


def test_answers_come_before_later_chunks_are_searched(
    search_ports: SearchPorts, index: CountingIndex
) -> None:
    queries = [by_id("0.png")] * (QUERIES_AT_ONCE + 1)
    answers = search_images(
        queries, SearchRequest(collection=COLLECTION, k=1), search_ports, LIMITS, local_caller()
    )
    next(answers)
    assert index.searches == [QUERIES_AT_ONCE]


def test_k_min_score_and_filters_are_obeyed(search_ports: SearchPorts) -> None:
    query = [by_id("3.png")]
    assert len(search(query, search_ports, k=4)[0].hits) == 4
    assert first_keys(search(query, search_ports, k=6, min_score=0.9999)) == ["3.png"]
    [answer] = search(query, search_ports, k=6, where=SearchFilter(metadata={"parity": "1"}))
    assert sorted(hit.key for hit in answer.hits) == ["1.png", "3.png", "5.png"]
    [answer] = search(query, search_ports, k=6, where=SearchFilter(bucket="elsewhere"))
    assert (answer.hits, answer.error) == ((), "")


def test_a_store_that_is_away_fails_the_search(search_ports: SearchPorts, store: MemoryStore) -> None:
    store.fail_next(TransientError("the store is away"))
    with pytest.raises(TransientError):
        search([by_key("0.png")], search_ports)


def test_an_image_that_another_process_has_just_written_is_found_by_its_id(
    search_ports: SearchPorts, index: CountingIndex
) -> None:
    index.lags = True
    (answer,) = search([by_id(KEYS[2])], search_ports)
    assert answer.error == ""
    assert answer.hits[0].key == KEYS[2]


# Images and vectors that come with the query


def test_an_image_that_is_given_finds_its_equal(search_ports: SearchPorts) -> None:
    given = [Bytes(text=f"upload {number}", body=distinct_png(number)) for number in (3, 1, 3)]
    answers = search([*given, by_id("0.png")], search_ports)
    assert first_keys(answers) == ["3.png", "1.png", "3.png", "0.png"]
    assert [answer.location for answer in answers[:3]] == [None] * 3


@pytest.mark.parametrize(
    ("body", "code"), [(b"", "empty"), (b"no picture, but a text of some length", "not_an_image")]
)
def test_what_is_given_and_no_image_has_the_reason_that_an_object_would_have(
    search_ports: SearchPorts, body: bytes, code: str
) -> None:
    [answer, other] = search([Bytes(text="upload", body=body), by_id("2.png")], search_ports)
    assert (answer.code, answer.error.split(":")[0], answer.hits) == (code, code, ())
    assert other.hits[0].key == "2.png"


def test_an_image_that_is_given_is_no_longer_than_an_object_may_be(search_ports: SearchPorts) -> None:
    body = distinct_png(1)
    request = SearchRequest(collection=COLLECTION)
    limits = replace(LIMITS, max_object_bytes=len(body) - 1)
    queries = [Bytes(text="upload", body=body)]
    [answer] = search_images(queries, request, search_ports, limits, local_caller())
    assert answer.code == "too_large"


def test_a_vector_of_any_length_finds_the_image_it_points_to(
    search_ports: SearchPorts, index: CountingIndex
) -> None:
    [row] = index.get_rows(TARGET, [image_id_of(BUCKET, "4.png")])
    ports = replace(search_ports, models=NoModel())
    long = Vector(text="v", values=[float(number) * 40 for number in row.vector])
    [answer] = search([long], ports)
    assert answer.hits[0].key == "4.png"
    assert answer.hits[0].score == pytest.approx(1)


@pytest.mark.parametrize(
    "values", [[1.0] * (SPEC.dim - 1), [[1.0] * SPEC.dim], [], [0.0] * SPEC.dim, [float("nan")] * SPEC.dim]
)
def test_a_vector_that_is_no_direction_of_the_space_costs_nobody_else_s_answer(
    search_ports: SearchPorts, values: list[float]
) -> None:
    [answer, other] = search([Vector(text="v", values=values), by_id("2.png")], search_ports)
    assert (answer.code, answer.hits) == ("invalid_argument", ())
    assert other.hits[0].key == "2.png"


# Who may ask, and which model answers


def test_whoever_may_not_search_is_refused_before_anything_is_asked(
    search_ports: SearchPorts, index: CountingIndex
) -> None:
    caller = Caller(who="ann", permissions=frozenset({Permission.READ}))
    with pytest.raises(DeniedError, match="'ann' may not do this: permission search is needed, found read"):
        search_images([by_id("0.png")], SearchRequest(collection=COLLECTION), search_ports, LIMITS, caller)
    assert index.searches == []


def test_a_model_of_another_collection_answers_no_image(
    search_ports: SearchPorts, index: CountingIndex
) -> None:
    models = ResidentModel(FakeEmbedder(OTHER_SPEC), index)
    with pytest.raises(ModelMismatchError):
        search([by_key("0.png")], replace(search_ports, models=models))
    assert first_keys(search([by_id("0.png")], replace(search_ports, models=models))) == ["0.png"]
