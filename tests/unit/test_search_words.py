"""Searches with words: what is found, what is said, and what is recorded."""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import ArgumentError, DeniedError, ErrorCode, ModelError, ModelMismatchError
from pipeline.ingest.run_batch import run_batch
from pipeline.location import Location
from pipeline.ports import Deps
from pipeline.search.points import Parts, point_of, scores_of
from pipeline.search.query import Bytes, Object, Query, Shown, Stored, Vector, Weights
from pipeline.service.access import Caller, local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.kept_probes import KeptProbes
from pipeline.service.models import LoadedOnDemand, ResidentModel
from pipeline.service.query_words import MAX_PROMPT_CHARS, MAX_PROMPTS, read_words
from pipeline.service.search import SearchAnswer, SearchPorts, SearchRequest, search_images
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_policies import MemoryPolicyBook
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    LOCAL_ROLE,
    CollectionPolicy,
    CollectionRef,
    IndexRow,
    Justification,
    Purpose,
    SearchFilter,
    image_id_of,
)
from tests.accountable import accountability, policy_version
from tests.unit import text_world
from tests.unit.fakes import (
    BLUE,
    BUCKET,
    COLLECTION,
    LIMITS,
    RED,
    SPEC,
    FakeEmbedder,
    plan_one_batch,
    png,
)
from tests.unit.test_search import NoModel
from tests.unit.text_world import PICTURES, TEXT_SPEC, FakeTexts, vector_of

USER = local_caller()
WHY = Justification(purpose="theft")
RED_ID = image_id_of(BUCKET, "red.png")

index, embedder, deps = text_world.index, text_world.embedder, text_world.deps


@pytest.fixture
def ports(deps: Deps, log: MemoryAuditLog) -> SearchPorts:
    return SearchPorts(
        store=deps.store,
        index=deps.index,
        answers_to=accountability(deps.index, log),
        models=ResidentModel(deps.embedder, deps.index, texts=deps.texts),
    )


def words(
    *text: str,
    unwanted: Sequence[str] = (),
    picture: Shown | None = None,
    weights: Mapping[str, float] | None = None,
) -> Query:
    return read_words(picture, text=text, unwanted=unwanted, weights=weights)


def search(
    ports: SearchPorts, *queries: Query, caller: Caller | None = None, **more: Any
) -> list[SearchAnswer]:
    request = SearchRequest(collection=COLLECTION, **({"k": 6} | more))
    return list(search_images(queries, request, ports, LIMITS, caller or local_caller()))


def keys(answer: SearchAnswer) -> list[str]:
    assert not answer.error, answer.error
    return [hit.key for hit in answer.hits]


def cosine(one: Any, other: Any) -> float:
    return float(np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other))


def record_of(log: MemoryAuditLog) -> dict[str, Any]:
    [entry] = log.entries()
    return dict(json.loads(entry.record or b""))


# What is found


@pytest.mark.parametrize("colour", ["red", "green", "blue", "white", "black"])
def test_words_find_the_picture_that_they_name(ports: SearchPorts, colour: str) -> None:
    [answer] = search(ports, words(f"a {colour} square"))
    assert keys(answer)[0] == f"{colour}.png"
    assert answer.hits[0].score == pytest.approx(1)
    assert (answer.query, answer.hits[0].parts) == (f"a {colour} square", None)


def test_several_texts_are_averaged(ports: SearchPorts) -> None:
    [answer] = search(ports, words("red", "blue"), k=1)
    mean = vector_of("red") + vector_of("blue")
    (hit,) = answer.hits
    assert hit.key == "purple.png"
    assert hit.parts is not None
    assert hit.score == pytest.approx(sum(hit.parts.texts) / float(np.linalg.norm(mean)), abs=1e-4), (
        "the mean of unit vectors, of unit length again"
    )
    assert len(hit.parts.texts) == 2


def test_what_is_not_wanted_comes_later(ports: SearchPorts) -> None:
    with_blue, without = (
        keys(answer) for answer in search(ports, words("red", "blue"), words("red", unwanted=["blue"]))
    )
    assert with_blue.index("purple.png") < with_blue.index("red.png")
    assert without[0] == "red.png"
    assert without[-1] == "blue.png"


@pytest.mark.parametrize(
    "picture",
    [
        Stored(text=RED_ID, id=RED_ID),
        Object(text="o", bucket=BUCKET, key="red.png"),
        Bytes(text="picture", body=PICTURES["red.png"]),
        Vector(text="vector", values=vector_of("red")),
    ],
    ids=lambda picture: type(picture).__name__,
)
def test_a_picture_of_each_kind_goes_together_with_words(ports: SearchPorts, picture: Shown) -> None:
    both, mostly_red = search(
        ports, words("blue", picture=picture), words("blue", picture=picture, weights={"text": 0.01}), k=1
    )
    assert keys(both) == ["purple.png"]
    assert keys(mostly_red) == ["red.png"]
    assert both.hits[0].parts is not None
    assert both.hits[0].parts.picture == pytest.approx(both.hits[0].parts.texts[0], abs=0.05)


def test_filters_come_before_words(ports: SearchPorts) -> None:
    [answer] = search(ports, words("red"), where=SearchFilter(metadata={"words": "mixed"}))
    assert keys(answer) == ["purple.png"]


def test_each_part_has_its_cosine(ports: SearchPorts) -> None:
    query = words("red", "white", unwanted=["green"], picture=Bytes(text="p", body=png(BLUE)))
    [answer] = search(ports, query, with_vector=True)
    for hit in answer.hits:
        assert hit.parts is not None
        assert hit.vector is not None
        assert hit.parts.texts == pytest.approx(
            [cosine(hit.vector, vector_of(text)) for text in ("red", "white")], abs=1e-5
        )
        assert hit.parts.unwanted == pytest.approx([cosine(hit.vector, vector_of("green"))], abs=1e-5)
        assert hit.parts.picture == pytest.approx(cosine(hit.vector, vector_of("blue")), abs=1e-5)


class NotedReads(MemoryIndex):
    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []  # how many rows, where any

    def get_rows(
        self, ref: CollectionRef, ids: Sequence[str], *, latest: bool = True, embedding: str = ""
    ) -> list[IndexRow]:
        self.reads += [len(ids)] if ids else []
        return super().get_rows(ref, ids, latest=latest, embedding=embedding)


@pytest.mark.parametrize("with_vector", [True, False])
def test_rows_are_read_once_for_parts_and_vectors(deps: Deps, ports: SearchPorts, with_vector: bool) -> None:
    index = NotedReads()
    index.create_collection(COLLECTION, TEXT_SPEC)
    run_batch(plan_one_batch(replace(deps, index=index)), replace(deps, index=index), LIMITS)
    index.reads.clear()
    [answer] = search(replace(ports, index=index), words("red", "blue"), with_vector=with_vector)
    assert index.reads == [len(PICTURES)]
    assert all(hit.parts is not None for hit in answer.hits)
    assert [hit.vector is not None for hit in answer.hits] == [with_vector] * len(PICTURES)


def test_texts_of_all_queries_go_through_the_model_together_and_once(ports: SearchPorts, deps: Deps) -> None:
    search(ports, words("red", "blue"), words("red"), words("blue", unwanted=["green"]))
    assert isinstance(deps.texts, FakeTexts)
    assert deps.texts.calls == [["red", "blue", "green"]]


def test_words_alone_ask_nothing_of_the_image_tower(ports: SearchPorts, embedder: FakeEmbedder) -> None:
    before = list(embedder.calls)
    search(ports, words("red"))
    assert embedder.calls == before


# The point


def unit(*values: float) -> Any:
    return (np.array(values) / np.linalg.norm(values)).astype(np.float32)


def test_five_texts_count_no_more_than_one() -> None:
    one = Parts(texts=(unit(1, 0, 0),), picture=unit(0, 1, 0))
    five = replace(one, texts=one.texts * 5)
    assert point_of(five, Weights()) == pytest.approx(point_of(one, Weights()))


@pytest.mark.parametrize(
    ("parts", "weights", "expected"),
    [
        (Parts(texts=(unit(1, 0),)), Weights(), unit(1, 0)),
        (Parts(texts=(unit(1, 0), unit(0, 1))), Weights(), unit(1, 1)),
        (Parts(texts=(unit(1, 0),), picture=unit(0, 1)), Weights(), unit(1, 1)),
        (Parts(texts=(unit(1, 0),), picture=unit(0, 1)), Weights(text=3), unit(3, 1)),
        (Parts(texts=(unit(1, 0),), picture=unit(0, 1)), Weights(picture=3), unit(1, 3)),
        (Parts(texts=(unit(1, 0),), unwanted=(unit(0, 1),)), Weights(), unit(1, -0.5)),
        (Parts(texts=(unit(1, 0),), unwanted=(unit(0, 1),)), Weights(unwanted=2), unit(1, -2)),
        (Parts(picture=unit(1, 0), unwanted=(unit(0, 1),)), Weights(picture=4), unit(4, -0.5)),
    ],
)
def test_a_point_is_what_is_wanted_less_what_is_not(parts: Parts, weights: Weights, expected: Any) -> None:
    point = point_of(parts, weights)
    assert point is not None
    assert point == pytest.approx(expected, abs=1e-6)
    assert point.dtype == np.float32


@pytest.mark.parametrize(
    "parts",
    [
        Parts(texts=(unit(1, 0), unit(-1, 0))),
        Parts(texts=(unit(1, 0),), picture=unit(-1, 0)),
        Parts(texts=(unit(1, 0),), unwanted=(unit(1, 0),)),
    ],
)
def test_parts_that_cancel_each_other_out_are_no_point(parts: Parts) -> None:
    assert point_of(parts, Weights(unwanted=1)) is None


def test_scores_are_cosines_within_their_bounds() -> None:
    vector = unit(0.3, 0.4, 0.5)
    scores = scores_of(vector, Parts(texts=(vector, -vector), picture=vector))
    assert (scores.texts, scores.unwanted, scores.picture) == ((1.0, -1.0), (), 1.0)


# What is refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "text '' is empty; words are expected"),
        (" \t\n ", "is empty; words are expected"),
        ("x" * 10_000, f"10000 characters, at most {MAX_PROMPT_CHARS} are allowed"),
        ("red\0shoes", "text 'red\\x00shoes': U+0000 is no character"),
        ("red\x1b[31m", "U+001B is no character of a text"),
        ("half \ud83d", "U+D83D is no character of a text"),
    ],
    ids=["empty", "spaces", "long", "NUL", "escape", "half a character"],
)
def test_a_text_that_nobody_can_read_is_refused(text: str, said: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        words(text)
    assert said in str(refused.value)
    with pytest.raises(ArgumentError) as refused:
        words("red", unwanted=[text])
    assert said.replace("text ", "not ", 1) in str(refused.value)


@pytest.mark.parametrize(
    "text", ["ein roter Schuh", "赤い靴", "می‌خواهم", "👩‍👩‍👧", "shoes & boots", "x" * MAX_PROMPT_CHARS]
)
def test_words_of_any_language_are_words(text: str) -> None:
    query = read_words(None, text=[text])
    assert query.text == text


def test_spaces_and_lines_are_one_space() -> None:
    assert read_words(None, text=["  red \n shoes\t"]).text == "red shoes"


RED_PICTURE = Bytes(text="p", body=b"")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "nothing to search with; a text or a picture is expected"),
        ({"unwanted": ["red"]}, "a text or a picture beside it is expected"),
        ({"text": ["red"] * (MAX_PROMPTS + 1)}, f"17 texts; at most {MAX_PROMPTS} are allowed"),
        ({"text": ["red"] * 9, "unwanted": ["red"] * 8}, "17 texts; at most 16 are allowed"),
        ({"picture": RED_PICTURE, "weights": {"picture": 2}}, "weights count only beside a text"),
        ({"text": ["red"], "weights": {"not": 2}}, "weight of 'not': the query has text"),
        ({"text": ["red"], "weights": {"words": 2}}, "weight of 'words'"),
        ({"text": ["red"], "weights": {"text": "much"}}, "weight of text is 'much'; a number above 0"),
        ({"text": ["red"], "weights": {"text": 0}}, "weight of text is '0'; a number above 0, at most 100"),
        ({"text": ["red"], "weights": {"text": float("nan")}}, "weight of text is 'nan'"),
        ({"text": ["red"], "weights": {"text": 101}}, "weight of text is '101'"),
    ],
)
def test_a_query_that_means_nothing_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        read_words(given.pop("picture", None), **given)


def test_a_text_over_the_models_limit_is_refused_and_its_neighbours_are_answered(ports: SearchPorts) -> None:
    long = "red " * 7
    first, second, third = search(ports, words("red"), words("green", long.strip()), words("blue"), k=1)
    assert (keys(first), keys(third)) == (["red.png"], ["blue.png"])
    assert second.code == ErrorCode.INVALID_ARGUMENT
    assert "is 9 tokens, and model 'two towers' reads at most 8; use fewer words" in second.error


def test_parts_that_cancel_are_said(ports: SearchPorts) -> None:
    [answer] = search(ports, words("red", unwanted=["red"], weights={"not": 1}))
    assert answer.error == "invalid_argument: the parts of this query cancel each other out"


def test_a_picture_that_cannot_be_read_is_said_with_words_beside_it(ports: SearchPorts) -> None:
    [answer] = search(ports, words("red", picture=Bytes(text="picture", body=b"no picture")))
    assert answer.code == "not_an_image"


def test_a_model_without_a_text_tower_is_named_and_nothing_is_loaded(
    store: MemoryStore, log: MemoryAuditLog
) -> None:
    index = MemoryIndex()
    index.create_collection(COLLECTION, SPEC)
    ports = SearchPorts(store=store, index=index, answers_to=accountability(index, log), models=NoModel())
    [answer] = search(ports, words("red"))
    assert answer.code == ErrorCode.MODEL_UNUSABLE
    assert "collection 'images' is of model 'fake', which has images and no text" in answer.error
    assert record_of(log)["outcome"] == "model_unusable"


def test_pictures_are_answered_beside_words_that_the_model_cannot_read(
    store: MemoryStore, ledger: SqlLedger
) -> None:
    index = MemoryIndex()
    index.create_collection(COLLECTION, SPEC)
    embedder = FakeEmbedder()
    deps = Deps(store=store, index=index, embedder=embedder, ledger=ledger)
    store.put(BUCKET, "red.png", png(RED))
    run_batch(plan_one_batch(deps), deps, LIMITS)
    ports = SearchPorts(
        store=store,
        index=index,
        answers_to=accountability(index),
        models=ResidentModel(embedder, index),
    )
    by_picture = Object(text="o", bucket=BUCKET, key="red.png")
    answers = search(ports, words("red", picture=by_picture), by_picture, words("red"))
    assert [answer.code for answer in answers] == ["model_unusable", "", "model_unusable"]
    assert keys(answers[1]) == ["red.png"]


def test_a_worker_whose_text_tower_is_not_loaded_says_so(deps: Deps, ports: SearchPorts) -> None:
    without = replace(ports, models=ResidentModel(deps.embedder, deps.index))
    with pytest.raises(ModelError, match="the text tower of model 'two towers' is not loaded"):
        search(without, words("red"))


# Rights and records


def test_the_picture_beside_words_needs_the_rights_of_a_picture(
    ports: SearchPorts, log: MemoryAuditLog
) -> None:
    caller = replace(USER, buckets=("shop",))
    query = words("red", picture=Object(text="o", bucket=BUCKET, key="red.png"))
    with pytest.raises(DeniedError):
        search(ports, query, caller=caller)
    record = record_of(log)
    assert record["decision"]["outcome"] == "refused"
    assert record["details"]["words"]["text"] == ["red"]


def test_the_picture_beside_words_needs_a_name_that_a_bucket_has(ports: SearchPorts) -> None:
    with pytest.raises(ArgumentError, match="bucket name"):
        search(ports, words("red", picture=Object(text="o", bucket="no bucket", key="k")))


def test_a_record_holds_the_words_themselves(ports: SearchPorts, log: MemoryAuditLog) -> None:
    search(ports, words("Jane Doe", "red", unwanted=["blue"], weights={"not": 0.25}))
    record = record_of(log)
    assert record["details"]["query"] == "Jane Doe; red; not blue"
    assert record["details"]["words"] == {
        "text": ["Jane Doe", "red"],
        "not": ["blue"],
        "weights": {"text": 1.0, "not": 0.25, "picture": 1.0},
    }
    digest = hashlib.sha256(b"Jane Doe\nred").hexdigest()
    assert (record["probe"]["source"], record["probe"]["sha256"]) == ("text", digest)


def test_a_record_of_words_with_a_picture_names_the_picture(ports: SearchPorts, log: MemoryAuditLog) -> None:
    body = PICTURES["blue.png"]
    search(ports, words("red", picture=Bytes(text="picture", body=body)))
    record = record_of(log)
    assert record["probe"]["sha256"] == hashlib.sha256(body).hexdigest()
    assert (record["probe"]["source"], record["details"]["words"]["text"]) == ("upload", ["red"])


def test_a_picture_that_came_with_words_is_kept_for_those_who_verify(deps: Deps, log: MemoryAuditLog) -> None:
    policies = MemoryPolicyBook()
    policies.add(
        policy_version(
            COLLECTION,
            CollectionPolicy(
                purposes=(Purpose(code="theft", text="Theft"),), roles=(LOCAL_ROLE,), verifications=1
            ),
        )
    )
    kept = KeptProbes(store=deps.store, place=Location(url="s3://kept/", bucket=BUCKET, prefix="kept/"))
    ports = SearchPorts(
        store=deps.store,
        index=deps.index,
        answers_to=Accountability(log=log, policies=policies, index=deps.index),
        models=ResidentModel(deps.embedder, deps.index, texts=deps.texts),
        probes=kept,
    )
    body = PICTURES["blue.png"]
    [answer] = search(ports, words("red", picture=Bytes(text="picture", body=body)), k=1, justification=WHY)
    assert answer.receipt is not None
    digest = hashlib.sha256(body).hexdigest()
    assert kept.read(answer.receipt.record_id, digest, LIMITS) == body


# Which tower is loaded


def test_words_do_not_wait_for_an_image_tower_that_is_loading(index: MemoryIndex) -> None:
    begun, may_end, loaded = threading.Event(), threading.Event(), list[str]()

    def load(_address: str, _precision: str) -> FakeEmbedder:
        begun.set()
        assert may_end.wait(timeout=30)
        return FakeEmbedder(TEXT_SPEC)

    def load_texts(address: str) -> FakeTexts:
        loaded.append(address)
        return FakeTexts()

    models = LoadedOnDemand(index, load, requested="", precision="auto", load_texts=load_texts)
    target = index.live(COLLECTION)
    loading = threading.Thread(target=models.answering, args=(target,))
    loading.start()
    assert begun.wait(timeout=30)
    first, second = models.reading(target), models.reading(target)
    may_end.set()
    loading.join()
    assert first is second
    assert loaded == [TEXT_SPEC.address], "once, and without an image tower"


def test_a_text_tower_of_another_model_is_refused(index: MemoryIndex) -> None:
    loaded: list[str] = []

    def load_texts(address: str) -> FakeTexts:
        loaded.append(address)
        texts = FakeTexts()
        texts.spec = replace(TEXT_SPEC, fingerprint="0e" * 32)
        return texts

    models = LoadedOnDemand(index, no_images, requested="", precision="auto", load_texts=load_texts)
    for _ in range(2):
        with pytest.raises(ModelMismatchError, match="two towers"):
            models.reading(index.live(COLLECTION))
    assert len(loaded) == 1


def no_images(_address: str, _precision: str) -> FakeEmbedder:
    raise AssertionError("no image is asked for")
