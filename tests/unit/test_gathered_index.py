"""GatheredIndex: each of many threads gets what the index alone would tell it."""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.beside.index import BesideIndex
from pipeline.api.embedded import open_embedded
from pipeline.errors import ArgumentError, ModelMismatchError, PictorError, TargetError
from pipeline.ports import VectorIndex
from pipeline.search.gathered_index import LOOKUP, MOST_OF_ONE, SEARCH, GatheredIndex
from pipeline.service.confined import ConfinedIndex, Scope
from pipeline.settings import Settings
from pipeline.testing.memory_index import MemoryIndex
from pipeline.types import (
    AllOf,
    AnyOf,
    CollectionRef,
    Compared,
    OneOf,
    Order,
    RowNumber,
    SearchFilter,
    UserMetadata,
)
from tests.contract.indexes import DIM, axis, model, row
from tests.contract.several_embeddings import SEVERAL, whole_row
from tests.fleet import wait_until
from tests.index_rows import put
from tests.scrape import Page

ENDLESS_S = 600.0
DEADLINE_S = 30.0
QUESTIONS = ("search", "get_rows")
BESIDE = "colours"


class HeldIndex:
    """An index that answers when it is let, and notes what it was asked."""

    def __init__(self, index: VectorIndex) -> None:
        self._index = index
        self.asked: list[tuple[str, tuple[Any, ...], Mapping[str, Any]]] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._index, name)
        return method if name not in QUESTIONS else lambda *args, **named: self._ask(name, args, named)

    def _ask(self, name: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        self.asked.append((name, args, named))
        assert self.go_on.wait(DEADLINE_S)
        return getattr(self._index, name)(*args, **named)

    @property
    def sizes(self) -> list[int]:
        """Vectors or ids of each call."""
        return [len(args[1]) for _, args, _ in self.asked]


@dataclass(frozen=True, kw_only=True)
class World:
    """One index below, and the same gathered, whose first question of a kind keeps the others waiting."""

    memory: MemoryIndex
    held: HeldIndex
    index: GatheredIndex
    ref: CollectionRef
    ids: list[str]
    told: list[tuple[str, int]]


def world_of(rows: int = 6, at_once: int = 1) -> World:
    memory, told = MemoryIndex(), []
    held = HeldIndex(memory)
    index = GatheredIndex(held, at_once=at_once, most_wait_s=ENDLESS_S, told=lambda *call: told.append(call))
    ref = index.create_collection("photos", model()).ref
    stored = [row(f"{place}.jpg", axis(place % DIM), metadata={"n": str(place % 2)}) for place in range(rows)]
    put(index, ref, stored)
    return World(memory=memory, held=held, index=index, ref=ref, ids=[each.id for each in stored], told=told)


class Crowd:
    def __init__(self, pool: ThreadPoolExecutor, world: World) -> None:
        self._pool = pool
        self._world = world

    def ask(self, question: Any, *args: Any, **named: Any) -> "Future[Any]":
        """Returns when the question is in a call, or waits for one."""
        before = self._settled()
        answer = self._pool.submit(question, *args, **named)
        wait_until(lambda: self._settled() > before, "the question is in a call or waits")
        return answer

    def _settled(self) -> int:
        return self._world.index.waiting + len(self._world.held.asked)


@contextmanager
def held(world: World) -> Iterator[Crowd]:
    """Whoever asks within gets no answer before the end."""
    world.held.go_on.clear()
    with ThreadPoolExecutor(32) as pool:
        try:
            yield Crowd(pool, world)
        finally:
            world.held.go_on.set()


def test_searches_that_wait_are_one_call() -> None:
    world = world_of()
    with held(world) as crowd:
        answers = [crowd.ask(world.index.search, world.ref, axis(n)[None], k=2) for n in range(4)]
        two = crowd.ask(world.index.search, world.ref, np.stack([axis(4), axis(5)]), k=2)
    assert [answer.result()[0][0].id for answer in answers] == world.ids[:4]
    assert [hits[0].id for hits in two.result()] == world.ids[4:6]
    assert world.held.sizes == [1, 5]
    assert world.told == [(SEARCH, 1), (SEARCH, 4)]


def test_lookups_that_wait_are_one_call_with_each_id_once() -> None:
    world = world_of()
    wanted = [[world.ids[0]], [world.ids[2], world.ids[1]], [world.ids[1], "f" * 32], [world.ids[2]] * 2]
    with held(world) as crowd:
        answers = [crowd.ask(world.index.get_rows, world.ref, ids, latest=False) for ids in wanted]
    found = [[each.id for each in answer.result()] for answer in answers]
    assert found == [wanted[0], wanted[1], [world.ids[1]], wanted[3]]
    assert world.held.sizes == [1, 3]
    assert world.told == [(LOOKUP, 1), (LOOKUP, 3)]


def test_the_latest_rows_are_looked_up_at_once() -> None:
    """The server makes each wait for its clock, and the next one would begin only then."""
    world = world_of()
    with held(world) as crowd:
        for _ in range(4):
            crowd.ask(world.index.get_rows, world.ref, world.ids[:1])
        assert world.held.sizes == [1, 1, 1, 1]


def test_a_large_question_waits_for_nobody_and_nobody_for_it() -> None:
    world = world_of()
    many = np.tile(axis(0), (MOST_OF_ONE + 1, 1))
    with held(world) as crowd:
        crowd.ask(world.index.search, world.ref, many, k=1)
        crowd.ask(world.index.search, world.ref, axis(0)[None], k=1000)
        crowd.ask(world.index.search, world.ref, axis(0)[None], k=1000)
        crowd.ask(world.index.get_rows, world.ref, world.ids * 2, latest=False)
        crowd.ask(world.index.search, world.ref, axis(0)[None], k=1)
        assert world.held.sizes == [len(many), 1, 1, 2 * len(world.ids), 1]


def test_searches_that_differ_in_anything_but_their_vectors_are_of_different_kinds() -> None:
    world = world_of()
    others: list[dict[str, Any]] = [
        {"k": 2},
        {"min_score": 0.5},
        {"where": SearchFilter(bucket="photos")},
        {"where": SearchFilter(key_prefix="1")},
        {"where": SearchFilter(metadata={"n": "1"})},
        *({"where": SearchFilter(condition=condition)} for condition in CONDITIONS if condition),
        {"embedding": "none"},
    ]
    with held(world) as crowd:
        for differs in ({}, *others):
            crowd.ask(world.index.search, world.ref, axis(0)[None], **({"k": 1} | differs))
        assert (world.index.waiting, len(world.held.asked)) == (0, 1 + len(others))
        for differs in ({}, *others):
            crowd.ask(world.index.search, world.ref, axis(0)[None], **({"k": 1} | differs))
        assert (world.index.waiting, len(world.held.asked)) == (1 + len(others), 1 + len(others))


def test_a_call_holds_only_so_many_hits() -> None:
    world = world_of()
    with held(world) as crowd:
        for _ in range(9):
            crowd.ask(world.index.search, world.ref, axis(0)[None], k=250)
    assert world.held.sizes == [1, 4, 4]


def test_who_searches_after_a_write_finds_it_whatever_was_under_way() -> None:
    world = world_of()
    with held(world) as crowd:
        crowd.ask(world.index.search, world.ref, axis(7)[None], k=1)
        crowd.ask(world.index.get_rows, world.ref, world.ids[:1], latest=False)
        new = row("new.jpg", axis(7))
        put(world.index, world.ref, [new])
        search = crowd.ask(world.index.search, world.ref, axis(7)[None], k=1)
        lookup = crowd.ask(world.index.get_rows, world.ref, [new.id], latest=False)
    assert [hit.id for hit in search.result()[0]] == [new.id]
    assert [each.id for each in lookup.result()] == [new.id]


@pytest.mark.parametrize("then", ["dropped", "another is live"])
def test_all_who_wait_for_a_generation_that_goes_are_told(then: str) -> None:
    world = world_of()
    with held(world) as crowd:
        questions = [crowd.ask(world.index.search, world.ref, axis(n)[None], k=1) for n in range(3)]
        questions += [
            crowd.ask(world.index.get_rows, world.ref, world.ids[:1], latest=False) for _ in range(3)
        ]
        if then == "dropped":
            world.index.drop_collection("photos")
        else:
            world.index.promote(world.index.open_generation("photos", model("second", "b2" * 32)).ref)
            world.index.drop_generation(world.ref)
    errors = [question.exception() for question in questions]
    assert {type(error) for error in errors} == {TargetError if then == "dropped" else ModelMismatchError}


def test_a_vector_of_another_length_is_refused_alone() -> None:
    world = world_of()
    with held(world) as crowd:
        first = crowd.ask(world.index.search, world.ref, axis(0)[None], k=1)
        short = crowd.ask(world.index.search, world.ref, axis(0)[None, :3], k=1)
        right = crowd.ask(world.index.search, world.ref, axis(1)[None], k=1)
    assert [first.result()[0][0].id, right.result()[0][0].id] == world.ids[:2]
    with pytest.raises(ArgumentError, match="numbers"):
        short.result()


def test_an_embedding_is_asked_for_by_its_name_alone() -> None:
    memory = MemoryIndex()
    below = HeldIndex(BesideIndex(memory))
    index = GatheredIndex(below, at_once=1, most_wait_s=ENDLESS_S)
    ref = index.create_collection("photos", SEVERAL).ref
    put(index, ref, [whole_row("a.jpg")])
    world = World(memory=memory, held=below, index=index, ref=ref, ids=[whole_row("a.jpg").id], told=[])
    with held(world) as crowd:
        names = ["", BESIDE, "none", "", BESIDE]
        answers = [crowd.ask(index.get_rows, ref, world.ids, latest=False, embedding=name) for name in names]
    alone = {name: index.get_rows(ref, world.ids, latest=False, embedding=name) for name in ("", BESIDE)}
    for name, answer in zip(names, answers, strict=True):
        if name in alone:
            assert [each.vector.tolist() for each in answer.result()] == [
                each.vector.tolist() for each in alone[name]
            ]
        else:
            assert isinstance(answer.exception(), ArgumentError)


TENANTS = ("acme", "beta")


def test_tenants_never_share_a_call() -> None:
    memory = MemoryIndex()
    below = HeldIndex(BesideIndex(memory))
    gathered = GatheredIndex(below, at_once=1, most_wait_s=ENDLESS_S)
    confined = {
        name: ConfinedIndex(gathered, Scope(who=name, tenant=name, collections=("*",))) for name in TENANTS
    }
    for name, index in confined.items():
        put(index, index.create_collection("photos", model()).ref, [row(f"{name}.jpg", axis(0))])
    ref = confined["acme"].live("photos")
    world = World(memory=memory, held=below, index=gathered, ref=ref, ids=[], told=[])
    with held(world) as crowd:
        asked = [
            (name, crowd.ask(confined[name].search, ref, axis(0)[None], k=5))
            for name in (*TENANTS, *TENANTS, *TENANTS)
        ]
    assert [[hit.key for hit in answer.result()[0]] for _, answer in asked] == [
        [f"{name}.jpg"] for name, _ in asked
    ]
    assert [(args[0].name, len(args[1])) for _, args, _ in below.asked[:2]] == [
        ("tenant_acme_photos", 1),
        ("tenant_beta_photos", 1),
    ]
    assert sorted((args[0].name, len(args[1])) for _, args, _ in below.asked[2:]) == [
        ("tenant_acme_photos", 2),
        ("tenant_beta_photos", 2),
    ]


def test_the_service_asks_its_index_so(tmp_path: Path) -> None:
    with open_embedded(Settings(home=tmp_path / "home"), []) as backend:
        ref = backend.index.create_collection("photos", model()).ref
        backend.index.get_rows(ref, ["0" * 32], latest=False)
        page = Page(backend.metrics.page().decode())
    assert page.by("pictor_index_call_questions_count", "call") == {LOOKUP: 1}


CONDITIONS = [
    None,
    OneOf(field=UserMetadata(name="n"), values=("0",)),
    OneOf(field=UserMetadata(name="n"), values=("1",)),
    Compared(field=RowNumber.SIZE_BYTES, order=Order.MORE, value=5),
    AllOf(parts=(OneOf(field=UserMetadata(name="n"), values=("0",)),)),
    AnyOf(parts=(OneOf(field=UserMetadata(name="n"), values=("1",)),)),
]
FILTERS = st.none() | st.builds(
    SearchFilter,
    key_prefix=st.sampled_from(["", "1", "2."]),
    bucket=st.sampled_from(["", "photos", "elsewhere"]),
    metadata=st.sampled_from([{}, {"n": "0"}, {"n": "1"}]),
    condition=st.sampled_from(CONDITIONS),
)
# Products of these are sums of few numbers: the same to the last bit, however many are computed at once.
VECTORS = st.lists(st.integers(0, DIM - 1), min_size=1, max_size=3).map(
    lambda places: np.stack([axis(place) for place in places])
)
SEARCHES = st.fixed_dictionaries(
    {
        "vectors": VECTORS,
        "k": st.sampled_from([0, 1, 3]),
        "where": FILTERS,
        "min_score": st.sampled_from([None, -1.0, 0.5]),
        "embedding": st.sampled_from(["", "", "", "none"]),
    }
)
LOOKUPS = st.fixed_dictionaries(
    {"ids": st.lists(st.integers(0, 8), max_size=3), "latest": st.booleans(), "embedding": st.just("")}
)


@given(asked=st.lists(SEARCHES | LOOKUPS, min_size=2, max_size=12), at_once=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_whatever_is_asked_at_the_same_time_each_gets_what_it_gets_alone(
    asked: list[dict[str, Any]], at_once: int
) -> None:
    world = world_of(rows=7, at_once=at_once)
    ids = [*world.ids, "e" * 32, "f" * 32]

    def answer(index: VectorIndex, question: dict[str, Any]) -> object:
        named = dict(question)
        try:
            if "ids" in named:
                return index.get_rows(world.ref, [ids[place] for place in named.pop("ids")], **named)
            return index.search(world.ref, named.pop("vectors"), **named)
        except PictorError as err:
            return type(err), str(err)

    with held(world) as crowd:
        answers = [crowd.ask(answer, world.index, question) for question in asked]
    assert [found.result() for found in answers] == [answer(world.memory, question) for question in asked]
