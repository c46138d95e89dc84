"""What every VectorIndex does with the generations of a collection."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from pymilvus import MilvusClient

from pipeline.adapters.milvus import schema
from pipeline.adapters.milvus.binding import BINDING_PROPERTY, bind, binding_text
from pipeline.adapters.milvus.index import MilvusIndex
from pipeline.adapters.milvus.lite.index import LiteIndex
from pipeline.errors import ConflictError, ModelMismatchError, TargetError
from pipeline.ports import VectorIndex
from pipeline.types import CollectionRef, ModelSpec
from tests.contract.indexes import axis, model, open_server, row, unit
from tests.index_rows import etags_in, ids_in, put

SECOND = model("second", "b2" * 32, dim=4)
THIRD = model("third", "c3" * 32)
FOURTH = model("fourth", "d4" * 32)
NARROW = np.array([1, 0, 0, 0], dtype=np.float32)


def keys_of(index: VectorIndex, ref: CollectionRef) -> list[str]:
    return sorted(row.ref.key for row in index.get_rows(ref, ids_in(index, ref)))


class TestGenerations:
    def test_a_second_one_is_filled_beside_the_live_one(self, index: VectorIndex, ref: CollectionRef) -> None:
        way = f"--collection {ref.name} --model MODEL --new-generation`"
        with pytest.raises(ModelMismatchError, match=way):
            index.create_collection(ref.name, SECOND)
        assert len(index.list_generations(ref.name)) == 1, "nothing was made"

        opened = index.open_generation(ref.name, SECOND)
        assert (opened.name, opened.dim, opened.rows, opened.live) == (ref.name, 4, 0, False)
        second = opened.ref
        put(index, ref, [row("a"), row("b", axis(1))])
        put(index, second, [row("a", NARROW, etag="e2"), row("c", NARROW)])
        index.delete_images(second, [row("b").id])
        assert (keys_of(index, ref), keys_of(index, second)) == (["a", "b"], ["a", "c"])
        assert etags_in(index, ref, [row("a").id]) == {row("a").id: "e1"}
        assert index.live(ref.name) == index.live(ref.name, latest=True) == ref
        assert [hit.key for hit in index.search(index.live(ref.name), axis(1)[None], k=1)[0]] == ["b"]
        assert {hit.key for hit in index.search(second, NARROW[None], k=9)[0]} == {"a", "c"}
        found = [(info.model_name, info.rows, info.live) for info in index.list_generations(ref.name)]
        assert found == [("first", 2, True), ("second", 2, False)]
        assert [info.ref for info in index.list_collections() if info.name == ref.name] == [ref]
        assert index.list_generations("never_made") == []

    def test_one_is_promoted_and_the_other_dropped(self, index: VectorIndex, ref: CollectionRef) -> None:
        put(index, ref, [row("a")])
        second = index.open_generation(ref.name, SECOND).ref
        put(index, second, [row("b", NARROW)])
        for _ in range(2):
            index.promote(second)
            assert index.live(ref.name) == second
        info = index.get_collection(ref.name)
        assert info is not None
        assert (info.model_name, info.dim, info.rows, info.live) == ("second", 4, 1, True)
        assert index.create_collection(ref.name, SECOND).ref == second
        with pytest.raises(ModelMismatchError):
            index.create_collection(ref.name, model())
        assert keys_of(index, ref) == ["a"], "the former one stays"

        with pytest.raises(ConflictError, match=rf"generation b2b2b2b2 of collection '{ref.name}' is live"):
            index.drop_generation(second)
        assert keys_of(index, second) == ["b"]
        index.promote(ref)
        index.drop_generation(second)
        assert [info.ref for info in index.list_generations(ref.name)] == [ref]
        assert index.get_generation(second) is None
        said = rf"'{ref.name}' holds vectors of model 'first' \(a1a1a1a1\) and has no generation b2b2b2b2"
        for operation in operations_on(index, second):
            with pytest.raises(TargetError, match=said):
                operation()

        assert index.open_generation(ref.name, SECOND).rows == 0
        assert index.get_rows(second, [row("b").id]) == []
        index.drop_collection(ref.name)
        assert index.list_generations(ref.name) == []
        assert index.get_collection(ref.name) is None
        with pytest.raises(TargetError, match="does not exist"):
            index.live(ref.name)

    def test_fingerprints_that_begin_alike_are_told_apart(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        alike = model("second", "a1" * 4 + "b2" * 28)
        with pytest.raises(ModelMismatchError):
            index.open_generation(ref.name, alike)
        with pytest.raises(ModelMismatchError):
            put(index, CollectionRef(name=ref.name, fingerprint=alike.fingerprint), [row("a")])

    def test_many_open_one_and_a_search_meets_the_former_or_the_promoted_one(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        opened: list[CollectionRef] = []
        run_at_once([lambda: opened.append(index.open_generation(ref.name, THIRD).ref) for _ in range(3)])
        third = CollectionRef(name=ref.name, fingerprint=THIRD.fingerprint)
        assert opened == [third] * 3
        put(index, ref, [row(f"old{n}", vector) for n, vector in enumerate(unit(1, 20))])
        put(index, third, [row(f"new{n}", vector) for n, vector in enumerate(unit(1, 20))])
        stop, answers = threading.Event(), set()

        def search() -> None:
            while not stop.is_set():
                hits = index.search(index.live(ref.name, latest=True), axis(0)[None], k=20)[0]
                answers.add((len(hits), frozenset(hit.key[:3] for hit in hits)))

        def promote() -> None:
            for _ in range(3):
                index.promote(third)
                index.promote(ref)
            stop.set()

        run_at_once([search, promote])
        assert answers <= {(20, frozenset({"old"})), (20, frozenset({"new"}))}
        assert answers


def operations_on(index: VectorIndex, ref: CollectionRef) -> list[Callable[[], object]]:
    return [
        lambda: index.check_generation(ref),
        lambda: put(index, ref, [row("a", NARROW)]),
        lambda: index.delete_images(ref, [row("a").id]),
        lambda: index.get_versions(ref, [row("a").id]),
        lambda: ids_in(index, ref),
        lambda: index.search(ref, NARROW[None], k=1),
        lambda: index.flush(ref),
        lambda: index.promote(ref),
        lambda: index.drop_generation(ref),
    ]


def run_at_once(work: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=one, name=f"at-once-{n}") for n, one in enumerate(work)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)


class TestInterrupted:
    """A process that was killed after some of the steps."""

    @pytest.fixture
    def name(self, milvus: MilvusIndex) -> Iterator[str]:
        name = f"t_{uuid4().hex[:12]}"
        milvus.create_collection(name, model())
        yield name
        milvus.drop_collection(name)

    def test_opening_is_finished_by_whoever_comes_next(self, milvus: MilvusIndex, name: str) -> None:
        without_index, unloaded = (
            make_half(milvus, name, THIRD, steps=1),
            make_half(milvus, name, FOURTH, steps=2),
        )
        assert [info.rows for info in milvus.list_generations(name)] == [0, 0, 0]
        for half_made in (without_index, unloaded):
            put(milvus, half_made, [row("a", axis(1))])
            assert [hit.key for hit in milvus.search(half_made, axis(1)[None], k=1)[0]] == ["a"]

    def test_promoting_what_is_half_made_makes_it_whole(self, milvus: MilvusIndex, name: str) -> None:
        half_made = make_half(milvus, name, THIRD, steps=1)
        milvus.promote(half_made)
        assert milvus.live(name) == half_made
        assert milvus.search(half_made, axis(1)[None], k=1) == [[]]

    def test_a_drop_is_finished_after_any_step(self, milvus: MilvusIndex, name: str) -> None:
        half_made = make_half(milvus, name, THIRD, steps=1)
        milvus._connection.call(lambda client: client.drop_alias(name))
        assert name not in {info.name for info in milvus.list_collections()}
        assert len(milvus.list_generations(name)) == 2
        milvus.drop_generation(half_made)
        assert len(milvus.list_generations(name)) == 1
        milvus.drop_collection(name)
        assert milvus.list_generations(name) == []
        milvus.create_collection(name, model())


def make_half(milvus: MilvusIndex, name: str, spec: ModelSpec, *, steps: int) -> CollectionRef:
    binding = bind(name, spec, "float32", "auto")
    physical = binding.physical

    def make(client: MilvusClient) -> None:
        properties = {BINDING_PROPERTY: binding_text(binding)}
        client.create_collection(
            physical, schema=schema.make_schema(binding), properties=properties, num_partitions=1
        )
        if steps > 1:
            client.create_index(physical, schema.make_index(lite=milvus._connection.lite))

    milvus._connection.call(make)
    return binding.ref


def test_processes_on_one_server_agree_on_what_is_live() -> None:
    """Each index has what it remembers for itself, as a process has."""
    name = f"t_{uuid4().hex[:12]}"
    with open_server() as other, open_server(live_ttl_s=0) as quick, open_server(live_ttl_s=1e9) as slow:
        first = other.create_collection(name, model()).ref
        third = other.open_generation(name, THIRD).ref
        assert quick.live(name) == slow.live(name) == first
        other.promote(third)
        assert quick.live(name) == third, "the time is over"
        assert slow.live(name) == first, "asking costs nothing while the answer is young"
        assert slow.live(name, latest=True) == slow.live(name) == third

        run_at_once([lambda: quick.promote(third), lambda: other.promote(first)])
        assert quick.live(name, latest=True) == other.live(name, latest=True), "who promotes last has it"

        other.promote(first)
        assert slow.live(name, latest=True) == first
        other.promote(third)
        other.drop_generation(first)
        with pytest.raises(TargetError, match="holds vectors of model 'third'"):
            slow.search(first, axis(0)[None], k=1)
        assert slow.live(name) == third, "a miss makes it ask again"
        other.drop_collection(name)


class TestFolder:
    def test_what_a_process_left_that_was_killed_while_it_made_or_dropped_one_is_no_obstacle(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "milvus.db"
        with LiteIndex(str(path)) as folder:
            first = folder.create_collection("photos", model()).ref
        (path / "collections" / "photos__c3c3c3c3" / "partitions").mkdir(parents=True)
        with LiteIndex(str(path)) as folder:
            assert [info.ref for info in folder.list_generations("photos")] == [first]
            assert folder.open_generation("photos", THIRD).rows == 0

    def test_one_without_an_index_is_made_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "milvus.db"
        with MilvusIndex(str(path)) as milvus:
            milvus.create_collection("photos", model())
            half_made = make_half(milvus, "photos", THIRD, steps=1)
        with LiteIndex(str(path)) as folder:
            folder.open_generation("photos", THIRD)
            folder.promote(half_made)
            put(folder, half_made, [row("a")])
        with MilvusIndex(str(path)) as milvus:
            assert milvus.live("photos") == half_made
            assert [hit.key for hit in milvus.search(half_made, axis(0)[None], k=1)[0]] == ["a"]

    def test_the_folder_opens_with_pymilvus_alone_after_a_promotion(self, tmp_path: Path) -> None:
        path = tmp_path / "milvus.db"
        with LiteIndex(str(path)) as folder:
            first = folder.create_collection("photos", model()).ref
            second = folder.open_generation("photos", SECOND).ref
            put(folder, second, [row("b", NARROW)])
            folder.promote(second)
            folder.drop_generation(first)
        client = MilvusClient(str(path))
        client.load_collection("photos")
        assert client.query("photos", filter='key == "b"', output_fields=["etag"])[0]["etag"] == "e1"
        assert client.list_collections() == ["photos__b2b2b2b2"]
        client.close()
