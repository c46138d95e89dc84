"""What every VectorIndex does. Runs on memory, a folder and, where there is one, a Milvus server."""

import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milvus_lite.adapter.grpc.server import start_server_in_thread
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from pipeline.adapters.beside.index import OpenBesideIndex
from pipeline.adapters.milvus.index import MilvusIndex
from pipeline.adapters.milvus.lite.index import LiteIndex
from pipeline.adapters.milvus.rows import EPOCH, MICROSECOND
from pipeline.errors import (
    ArgumentError,
    ConfigError,
    CredentialsError,
    ModelMismatchError,
    PictorError,
    TargetError,
    TransientError,
)
from pipeline.ports import MAX_ETAG_BYTES, MAX_HITS, MAX_METADATA_BYTES, MAX_PATH_BYTES, VectorIndex
from pipeline.search.gathered_index import GatheredIndex
from pipeline.testing.memory_filter import matches
from pipeline.types import (
    AllOf,
    AnyOf,
    BoundModel,
    CollectionRef,
    Compared,
    Condition,
    IndexRow,
    Int8Recall,
    OneOf,
    Order,
    RowNumber,
    SearchFilter,
    UserMetadata,
)
from tests.contract.indexes import (
    BUCKET,
    DIM,
    WHEN,
    axis,
    model,
    open_index,
    open_server,
    ref_of,
    row,
    unit,
)
from tests.fleet import wait_until
from tests.index_rows import etags_in, ids_in, put
from tests.limit_texts import LETTERS, text_of


def ids(rows: list[IndexRow]) -> list[str]:
    return [row.id for row in rows]


def keys_found(index: VectorIndex, ref: CollectionRef, where: SearchFilter) -> set[str]:
    hits = index.search(ref, axis(0)[None], k=1000, where=where)[0]
    return {hit.key for hit in hits}


class TestCollections:
    def test_a_new_collection_knows_its_model_and_is_empty(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        info = index.get_collection(ref.name)
        assert info is not None
        assert (info.name, info.model_name, info.model_address) == (ref.name, "first", "builtin/first")
        assert (info.fingerprint, info.dim, info.vector_type, info.rows) == ("a1" * 32, DIM, "float32", 0)

    def test_the_record_of_one_in_int8_says_what_its_calibration_found(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        found = Int8Recall(recall_at_10=0.982685, images=462)
        spec = replace(model("in int8", "18" * 32), int8=found)
        opened = index.open_generation(ref.name, spec)
        assert (opened.int8, opened.fingerprint) == (found, spec.fingerprint)
        assert {info.model_name: info.int8 for info in index.list_generations(ref.name)} == {
            "first": None,
            "in int8": found,
        }
        assert index.open_generation(ref.name, replace(spec, int8=None)).int8 == found, "the record stays"

    def test_creating_it_again_changes_nothing(self, index: VectorIndex, ref: CollectionRef) -> None:
        put(index, ref, [row("a")])
        index.create_collection(ref.name, model())
        assert ids_in(index, ref) == [row("a").id]

    def test_another_model_is_refused_and_both_are_named(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        with pytest.raises(ModelMismatchError, match=r"'first' \(a1a1a1a1\).*'second' \(b2b2b2b2\)"):
            index.create_collection(ref.name, model("second", "b2" * 32))

    def test_the_check_before_a_batch_tells_the_collections_own_model_from_another(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        index.check_generation(ref)
        with pytest.raises(ModelMismatchError, match=r"'first' \(a1a1a1a1\).*no generation b2b2b2b2"):
            index.check_generation(ref_of(ref.name, "b2" * 32))
        with pytest.raises(TargetError, match="collection 'never_made' does not exist"):
            index.check_generation(ref_of("never_made"))
        assert index.model_of(ref) == BoundModel(
            name=model().name, dim=model().dim, fingerprint=model().fingerprint
        )

    def test_fingerprints_that_begin_alike_are_told_apart(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        with pytest.raises(ModelMismatchError):
            index.create_collection(ref.name, model("second", "a1" * 4 + "b2" * 28))

    def test_a_collection_that_is_not_there_is_none(self, index: VectorIndex) -> None:
        assert index.get_collection("never_made") is None

    def test_a_name_that_no_collection_can_have_is_not_there(self, index: VectorIndex) -> None:
        """A server answers such a question with an error of its own."""
        for bad in (">", "0", "a b", "x" * 300, "ä"):
            with suppress(ArgumentError):  # the index of a tenant names collections by another one
                assert index.get_collection(bad) is None
                assert index.list_generations(bad) == []

    @pytest.mark.parametrize("bad", ["", "1a", "a b", "a__b", "ä", "a" * 101])
    def test_a_name_that_milvus_could_not_carry_is_refused(self, index: VectorIndex, bad: str) -> None:
        with pytest.raises(ConfigError, match="collection name"):
            index.create_collection(bad, model())

    def test_the_list_counts_the_rows(self, index: VectorIndex, ref: CollectionRef) -> None:
        put(index, ref, [row("a"), row("b")])
        assert {info.name: info.rows for info in index.list_collections()}[ref.name] == 2

    def test_dropping_takes_the_rows_and_frees_the_name_for_another_model(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        put(index, ref, [row("a")])
        index.drop_collection(ref.name)
        assert index.get_collection(ref.name) is None
        assert ref.name not in {info.name for info in index.list_collections()}
        assert index.create_collection(ref.name, model("second", "b2" * 32, dim=4)).rows == 0

    def test_every_operation_on_a_missing_collection_says_so(self, index: VectorIndex) -> None:
        gone = ref_of("never_made")
        for operation in (
            lambda: put(index, gone, [row("a")]),
            lambda: index.delete_images(gone, ["a"]),
            lambda: index.get_versions(gone, ["a"]),
            lambda: index.get_rows(gone, ["a"]),
            lambda: index.list_images(gone),
            lambda: index.get_images(gone, ["a"]),
            lambda: index.search(gone, axis(0)[None], k=1),
            lambda: index.flush(gone),
            lambda: index.drop_collection(gone.name),
            lambda: index.drop_generation(gone),
            lambda: index.promote(gone),
            lambda: index.live(gone.name),
        ):
            with pytest.raises(ConfigError, match="collection 'never_made' does not exist"):
                operation()

    def test_operations_after_a_drop_say_so_too(self, index: VectorIndex, ref: CollectionRef) -> None:
        put(index, ref, [row("a")])
        index.drop_collection(ref.name)
        with pytest.raises(ConfigError, match="does not exist"):
            put(index, ref, [row("a")])

    def test_many_creators_at_once_make_one_collection(self, index: VectorIndex) -> None:
        name = f"t_{uuid4().hex[:12]}"
        made: list[str] = []
        threads = [
            threading.Thread(
                target=lambda: made.append(index.create_collection(name, model()).fingerprint),
                name=f"maker-{n}",
            )
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert made == ["a1" * 32] * 4
        index.drop_collection(name)


class TestRows:
    def test_what_was_written_comes_back_whole(self, index: VectorIndex, ref: CollectionRef) -> None:
        vector = unit(1, 1)[0]
        written = row(
            "dir/ä \"'\\\n%_😀.jpg", vector, metadata={"cam": "1", "Ö~/[x]\"'\\": 'a\n"b\\ é😀', "": "x"}
        )
        put(index, ref, [written])
        (read,) = index.get_rows(ref, [written.id])
        assert np.allclose(read.vector, vector, atol=1e-6)
        assert read.vector.dtype == np.float32
        assert (read.id, read.ref, read.width, read.height) == (written.id, written.ref, 640, 480)
        assert read.indexed_at == WHEN
        assert read.metadata == written.metadata

    def test_rows_come_in_the_order_that_was_asked_for(self, index: VectorIndex, ref: CollectionRef) -> None:
        rows = [row(f"{n}") for n in range(20)]
        put(index, ref, rows)
        asked = [rows[7].id, "0" * 32, rows[3].id, rows[15].id]
        assert ids(index.get_rows(ref, asked)) == [rows[7].id, rows[3].id, rows[15].id]
        # A cheap look lags behind the writes of other processes at most.
        assert ids(index.get_rows(ref, asked, latest=False)) == [rows[7].id, rows[3].id, rows[15].id]

    def test_the_same_rows_twice_leave_the_same_index(self, index: VectorIndex, ref: CollectionRef) -> None:
        rows = [row(f"{n}", vector) for n, vector in enumerate(unit(2, 30))]
        put(index, ref, rows)
        put(index, ref, rows)
        assert sorted(ids_in(index, ref)) == sorted(ids(rows))
        assert len(index.search(ref, axis(0)[None], k=100)[0]) == 30

    def test_a_new_version_replaces_the_old(self, index: VectorIndex, ref: CollectionRef) -> None:
        put(index, ref, [row("a", axis(0), etag="e1"), row("b", axis(1))])
        put(index, ref, [row("a", axis(2), etag="e2")])
        assert etags_in(index, ref, [row("a").id]) == {row("a").id: "e2"}
        hit = index.search(ref, axis(2)[None], k=1)[0][0]
        assert (hit.key, hit.etag) == ("a", "e2")
        assert hit.score >= 0.999

    def test_etags_are_of_the_rows_that_are_there(self, index: VectorIndex, ref: CollectionRef) -> None:
        put(index, ref, [row("a", etag='"q"-1'), row("b", etag="e2")])
        asked = [row("a").id, row("gone").id, row("b").id]
        assert etags_in(index, ref, asked) == {row("a").id: '"q"-1', row("b").id: "e2"}
        assert etags_in(index, ref, []) == {}

    def test_a_lagging_look_sees_what_was_there_when_the_collection_was_asked_for(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        for number in range(10):
            put(index, ref, [row("a", etag=f"e{number}")])
            index.create_collection(ref.name, model())
            assert etags_in(index, ref, [row("a").id], latest=False) == {row("a").id: f"e{number}"}

    def test_deleted_rows_are_gone_from_everywhere_and_deleting_twice_is_no_error(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        put(index, ref, [row("a", axis(0)), row("b", axis(1))])
        for _ in range(2):
            index.delete_images(ref, [row("a").id, row("gone").id])
        assert ids_in(index, ref) == [row("b").id]
        assert index.get_rows(ref, [row("a").id]) == []
        assert [hit.key for hit in index.search(ref, axis(0)[None], k=10)[0]] == ["b"]

    def test_a_deleted_row_can_come_back(self, index: VectorIndex, ref: CollectionRef) -> None:
        put(index, ref, [row("a", etag="e1")])
        index.delete_images(ref, [row("a").id])
        put(index, ref, [row("a", etag="e2")])
        assert etags_in(index, ref, [row("a").id]) == {row("a").id: "e2"}

    def test_an_id_is_data_and_never_syntax(self, index: VectorIndex, ref: CollectionRef) -> None:
        put(index, ref, [row("a"), row("b")])
        for hostile in ("x'] or id != '", 'x"] or id != "', "x\\", "x\n"):
            index.delete_images(ref, [hostile])
            assert index.get_rows(ref, [hostile]) == []
        assert len(ids_in(index, ref)) == 2

    def test_a_vector_of_another_length_is_refused_and_nothing_is_written(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        with pytest.raises(ConfigError, match="vectors of 8 numbers"):
            put(index, ref, [row("good"), row("bad", np.ones(DIM + 1, dtype=np.float32))])
        assert ids_in(index, ref) == []

    def test_the_longest_texts_are_held(self, index: VectorIndex, ref: CollectionRef) -> None:
        longest = [
            row(
                text_of(MAX_PATH_BYTES, letter),
                bucket=text_of(MAX_PATH_BYTES, letter, start="/"),
                etag=text_of(MAX_ETAG_BYTES, letter),
                metadata={"note": letter * (MAX_METADATA_BYTES // 12 - 50), letter * 30: ""},  # 12: as JSON
            )
            for letter in LETTERS.values()
        ]
        put(index, ref, longest)
        found = index.get_rows(ref, ids(longest))
        assert [(read.ref, read.metadata) for read in found] == [
            (each.ref, each.metadata) for each in longest
        ]

    def test_a_text_of_one_byte_more_is_refused_and_nothing_is_written(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        for letter in LETTERS.values():
            path, etag = text_of(MAX_PATH_BYTES + 1, letter), text_of(MAX_ETAG_BYTES + 1, letter)
            for bad, size_bytes in (
                (row(path), 4097),
                (row("b", bucket=path), 4097),
                (row("b", etag=etag), 513),
            ):
                with pytest.raises(ConfigError, match=f"{size_bytes} bytes"):
                    put(index, ref, [row("a"), bad])
        assert ids_in(index, ref) == []

    def test_thousands_of_ids_are_listed_once_each(self, index: VectorIndex, ref: CollectionRef) -> None:
        rows = [row(f"{n}", vector) for n, vector in enumerate(unit(3, 9000))]
        put(index, ref, rows)
        listed = ids_in(index, ref)
        assert len(listed) == 9000
        assert set(listed) == set(ids(rows))
        assert len(index.get_versions(ref, ids(rows))) == 9000
        assert index.get_collection(ref.name).rows == 9000  # type: ignore[union-attr]

    def test_versions_are_listed_by_image_in_order_of_the_ids_from_any_id_on(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        rows = [row(f"{n}", vector) for n, vector in enumerate(unit(3, 20_000))]
        for start in range(0, len(rows), 5000):
            put(index, ref, rows[start : start + 5000])
        put(index, ref, [row("7", axis(1), etag="e2")])
        index.delete_images(ref, [row("8").id])
        in_order = sorted(one.id for one in rows if one.ref.key != "8")
        listed = [image.ref for image in index.list_images(ref)]
        assert [ref.image_id for ref in listed] == in_order
        assert {ref.key: ref.etag for ref in listed}["7"] == "e2"
        assert [ref for ref in listed if ref.key == "123"] == [row("123").ref]
        for place in (0, 16_383, len(in_order) - 1, in_order.index(row("7").id)):
            after = [image.ref.image_id for image in index.list_images(ref, start_after=in_order[place])]
            assert after == in_order[place + 1 :]

    def test_threads_share_one_index(self, index: VectorIndex, ref: CollectionRef) -> None:
        parts = [[row(f"{part}/{n}") for n in range(100)] for part in range(4)]
        failures: list[BaseException] = []

        def write(part: list[IndexRow]) -> None:
            try:
                for start in range(0, 100, 20):
                    put(index, ref, part[start : start + 20])
                    index.search(ref, axis(0)[None], k=5)
                    index.get_versions(ref, ids(part))
            except BaseException as err:
                failures.append(err)
                raise

        threads = [
            threading.Thread(target=write, args=(part,), name=f"writer-{part[0].id}") for part in parts
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
        assert failures == []
        assert set(ids_in(index, ref)) == {row.id for part in parts for row in part}


class TestSearch:
    def test_nearest_first_with_everything_a_hit_tells(self, index: VectorIndex, ref: CollectionRef) -> None:
        near = (axis(0) * 0.8 + axis(1) * 0.6).astype(np.float32)
        put(index, ref, [row("far", axis(2)), row("near", near), row("same", axis(0), metadata={"c": "1"})])
        hits = index.search(ref, axis(0)[None], k=3)[0]
        assert [hit.key for hit in hits] == ["same", "near", "far"]
        assert [hit.score for hit in hits] == pytest.approx([1.0, 0.8, 0.0], abs=1e-4)
        assert all(type(hit.score) is float and -1 <= hit.score <= 1 for hit in hits)
        first = hits[0]
        assert (first.id, first.bucket, first.etag) == (row("same").id, BUCKET, "e1")
        assert (first.width, first.height, first.size_bytes) == (640, 480, 4)
        assert (first.indexed_at, first.metadata) == (WHEN, {"c": "1"})

    def test_many_vectors_get_an_answer_each_in_their_order(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        vectors = unit(4, 300)
        rows = [row(f"{n}", vector) for n, vector in enumerate(vectors)]
        put(index, ref, rows)
        answers = index.search(ref, vectors, k=40)  # more than one call's worth of hits
        assert [answer[0].id for answer in answers] == ids(rows)
        assert {len(answer) for answer in answers} == {40}

    def test_questions_of_many_threads_that_go_together_find_what_each_finds_alone(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        vectors = unit(5, 60)
        rows = [row(f"{n}", vector, metadata={"n": str(n % 2)}) for n, vector in enumerate(vectors)]
        put(index, ref, rows)
        filters = [None, SearchFilter(metadata={"n": "1"})]
        questions = [(place, where) for place in range(24) for where in filters]
        calls: list[int] = []
        gathered = GatheredIndex(index, at_once=1, told=lambda _call, questions: calls.append(questions))

        def find(asked: VectorIndex, place: int, where: SearchFilter | None) -> list[tuple[str, Any]]:
            [stored] = asked.get_rows(ref, [rows[place].id], latest=False)
            [hits] = asked.search(ref, stored.vector[None], k=4, where=where)
            # Sums of a batch may differ in the last bit, and so the sixth decimal may.
            return [(hit.id, pytest.approx(hit.score, abs=2e-6)) for hit in hits]

        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda question: find(gathered, *question), questions))
        assert together == [find(index, *question) for question in questions]
        assert sum(calls) == 2 * len(questions)

    def test_equal_scores_are_ordered_by_id_at_the_cut_too(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        twins = sorted((row(f"twin{n}", axis(3)) for n in range(12)), key=lambda twin: twin.id)
        put(index, ref, list(reversed(twins)))
        for k in (1, 5, 12):
            assert [hit.id for hit in index.search(ref, axis(3)[None], k=k)[0]] == ids(twins)[:k]

    @pytest.mark.parametrize("twins", [60, 3_000, 20_000])  # Milvus returns 16,384 rows at most
    def test_a_short_answer_is_the_beginning_of_a_long_one_however_many_rows_are_equal(
        self, index: VectorIndex, ref: CollectionRef, twins: int
    ) -> None:
        equal = [row(f"twin{n}", axis(3)) for n in range(twins)]
        near = (axis(3) * 0.9 + axis(4) * 0.1).astype(np.float32)
        others = [row(f"other{n}", near / np.linalg.norm(near)) for n in range(100)]
        put(index, ref, equal + others)
        index.flush(ref)
        by_id = sorted(ids(equal))
        for k in (1, 10, 20, 500):
            found = [hit.id for hit in index.search(ref, axis(3)[None], k=k)[0]]
            assert found[:twins] == by_id[:k]
        is_server = isinstance(index, OpenBesideIndex) and index.server_version().startswith("Milvus 2")
        if twins < 20_000 or not is_server:  # a graph finds few beside so many equal rows
            behind = index.search(ref, near[None], k=105)[0]
            assert [hit.id for hit in behind] == sorted(ids(others)) + by_id[:5]

    def test_equal_rows_are_ordered_within_a_filter_and_a_least_score(
        self, index: VectorIndex, ref: CollectionRef
    ) -> None:
        twins = [row(f"{'in' if n % 2 else 'out'}/{n}", axis(3)) for n in range(200)]
        put(index, ref, [*twins, row("in/far", axis(4))])
        inside = sorted(twin.id for twin in twins if twin.ref.key.startswith("in/"))
        where = SearchFilter(key_prefix="in/")
        for k in (10, 100, 300):
            hits = index.search(ref, axis(3)[None], k=k, where=where, min_score=0.5)[0]
            assert [hit.id for hit in hits] == inside[:k]

    def test_hits_below_the_score_are_left_out(self, index: VectorIndex, ref: CollectionRef) -> None:
        half = (axis(0) * 0.6 + axis(1) * 0.8).astype(np.float32)
        put(index, ref, [row("one", axis(0)), row("half", half), row("none", axis(2))])
        found = index.search(ref, axis(0)[None], k=10, min_score=0.5)[0]
        assert [hit.key for hit in found] == ["one", "half"]
        assert [hit.key for hit in index.search(ref, axis(0)[None], k=10, min_score=0.999)[0]] == ["one"]
        opposite = index.search(ref, -axis(0)[None], k=10, min_score=-1.0)[0]
        assert len(opposite) == 3

    def test_a_thousand_hits_can_be_had(self, index: VectorIndex, ref: CollectionRef) -> None:
        put(index, ref, [row(f"{n}", vector) for n, vector in enumerate(unit(5, 1200))])
        hits = index.search(ref, axis(0)[None], k=1000)[0]
        assert len({hit.id for hit in hits}) == 1000
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    @pytest.mark.parametrize("k", [0, -1, MAX_HITS + 1])
    def test_other_numbers_of_hits_are_refused(self, index: VectorIndex, ref: CollectionRef, k: int) -> None:
        with pytest.raises(ConfigError, match=f"1 to {MAX_HITS}"):
            index.search(ref, axis(0)[None], k=k)

    def test_a_query_of_another_length_is_refused(self, index: VectorIndex, ref: CollectionRef) -> None:
        with pytest.raises(ConfigError, match="vectors of 8 numbers"):
            index.search(ref, np.ones((1, DIM + 1), dtype=np.float32), k=1)

    def test_an_empty_collection_answers_with_nothing(self, index: VectorIndex, ref: CollectionRef) -> None:
        assert index.search(ref, unit(6, 2), k=5) == [[], []]

    def test_a_search_sees_the_write_before_it(self, index: VectorIndex, ref: CollectionRef) -> None:
        for n in range(20):
            vector = unit(100 + n, 1)[0]
            put(index, ref, [row(f"{n}", vector)])
            assert index.search(ref, vector[None], k=1)[0][0].key == f"{n}"

    def test_settled_rows_are_found_as_before(self, index: VectorIndex, ref: CollectionRef) -> None:
        vectors = unit(7, 2000)
        put(index, ref, [row(f"{n}", vector) for n, vector in enumerate(vectors)])
        index.flush(ref)
        answers = index.search(ref, vectors[:50], k=1)
        assert [answer[0].key for answer in answers] == [f"{n}" for n in range(50)]
        index.flush(ref)  # nothing new: no error

    def test_conditions_are_joined_by_and(self, index: VectorIndex, ref: CollectionRef) -> None:
        put(
            index,
            ref,
            [
                row("in/a", metadata={"cam": "1", "day": "mo"}),
                row("in/b", metadata={"cam": "2", "day": "mo"}),
                row("out/a", metadata={"cam": "1", "day": "mo"}),
                row("in/a", bucket="other", metadata={"cam": "1", "day": "mo"}),
                row("in/c", metadata={"cam": "1"}),
            ],
        )
        where = SearchFilter(key_prefix="in/", bucket=BUCKET, metadata={"cam": "1", "day": "mo"})
        hits = index.search(ref, axis(0)[None], k=10, where=where)[0]
        assert [(hit.bucket, hit.key) for hit in hits] == [(BUCKET, "in/a")]

    def test_a_text_is_not_a_number(self, index: VectorIndex, ref: CollectionRef) -> None:
        put(index, ref, [row("a", metadata={"n": "1"}), row("b", metadata={"n": "01"}), row("c")])
        assert keys_found(index, ref, SearchFilter(metadata={"n": "1"})) == {"a"}
        assert keys_found(index, ref, SearchFilter(metadata={"n": ""})) == set()


# What is syntax in `like` or in a literal comes often, so that values differ by it alone; then everything
# that is syntax elsewhere, and the ends of the code point range.
SYNTAX = 'ab%_\\"'
ODD = "'/[]~{}$().*?\n\r\t\0\x1f\x7f ÄÖ😀\ud7ff\ue000\uffff\U0010ffff"
TEXT = st.text(st.sampled_from(SYNTAX * 8 + ODD), max_size=4)


SIDES = (1, 2, 3, 2**31, 2**53)  # px, and microseconds behind WHEN


def conditions(metadata: Sequence[tuple[str, str]]) -> st.SearchStrategy[Condition]:
    """Trees of conditions on rows with such metadata, most of which hold for some and not for others."""
    names = st.sampled_from([name for name, _ in metadata]) | TEXT
    texts = st.sampled_from([text for _, text in metadata]) | TEXT
    times = st.sampled_from(SIDES).map(lambda number: (WHEN - EPOCH) // MICROSECOND + number)
    leaves = (
        leaves_of(st.builds(UserMetadata, name=names), texts)
        | leaves_of(
            st.sampled_from([RowNumber.WIDTH, RowNumber.HEIGHT, RowNumber.SIZE_BYTES]),
            st.sampled_from(SIDES) | st.integers(-(2**53), 2**53),
        )
        | leaves_of(st.just(RowNumber.INDEXED_AT), times)
    )
    return st.recursive(leaves, joined, max_leaves=6)


def leaves_of(field: st.SearchStrategy[Any], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Condition]:
    several = st.lists(values, min_size=1, max_size=4).map(tuple)
    compared = st.builds(Compared, field=field, order=st.sampled_from(Order), value=values)
    return st.builds(OneOf, field=field, values=several) | compared


def joined(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(parts, min_size=1, max_size=3).map(tuple)
    return st.builds(AllOf, parts=several) | st.builds(AnyOf, parts=several)


def odd_text(random: Random) -> str:
    return "".join(random.choices(SYNTAX * 8 + ODD, k=random.randint(0, 4)))


def odd_rows(random: Random) -> list[IndexRow]:
    names = [odd_text(random) for _ in range(30)]
    return [
        replace(
            row(
                odd_text(random),
                bucket=bucket,
                metadata={random.choice(names): odd_text(random) for _ in range(2)},
            ),
            width=random.choice(SIDES),
            height=random.choice(SIDES),
            indexed_at=WHEN + timedelta(microseconds=random.choice(SIDES)),
        )
        for bucket in [odd_text(random) for _ in range(8)]
        for _ in range(60)
    ]


@pytest.mark.parametrize("kind", ["folder", "server"])
def test_filters_mean_on_milvus_what_they_mean_in_memory(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = list({row.id: row for row in odd_rows(Random(7))}.values())
    keys, buckets = [row.ref.key for row in rows], [row.ref.bucket for row in rows]
    metadata = [{name: text} for row in rows for name, text in row.metadata.items()]
    prefixes = st.builds(lambda key, length: key[:length], st.sampled_from(keys), st.integers(1, 3)) | TEXT
    of_rows = conditions([pair for row in rows for pair in row.metadata.items()])
    filters = st.one_of(
        st.builds(SearchFilter, key_prefix=prefixes),
        st.builds(SearchFilter, bucket=st.sampled_from(buckets) | TEXT),
        st.builds(SearchFilter, metadata=st.sampled_from(metadata) | st.dictionaries(TEXT, TEXT, max_size=2)),
        st.builds(SearchFilter, key_prefix=prefixes, bucket=st.sampled_from(buckets)),
        st.builds(SearchFilter, condition=of_rows),
        st.builds(SearchFilter, bucket=st.sampled_from(buckets), condition=of_rows),
    )
    with open_index(kind, tmp_path_factory) as milvus:
        name = f"t_{uuid4().hex[:12]}"
        ref = milvus.create_collection(name, model()).ref
        put(milvus, ref, rows)

        @settings(max_examples=300, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(where=filters)
        def check(where: SearchFilter) -> None:
            hits = milvus.search(ref, axis(0)[None], k=1000, where=where)[0]
            assert {hit.id for hit in hits} == {row.id for row in rows if matches(row, where)}

        try:
            check()
        finally:
            milvus.drop_collection(name)


class TestMilvus:
    def test_a_collection_made_by_somebody_else_is_refused(self, milvus: MilvusIndex) -> None:
        name = f"t_{uuid4().hex[:12]}"
        milvus._connection.call(lambda client: client.create_collection(name, dimension=DIM))
        with pytest.raises(ConfigError, match="was not made by Pictor"):
            milvus.get_collection(name)
        with pytest.raises(ConfigError, match="was not made by Pictor"):
            milvus.create_collection(name, model())
        assert name not in {info.name for info in milvus.list_collections()}
        milvus._connection.call(lambda client: client.drop_collection(name))

    def test_an_interrupted_drop_is_finished_by_the_next(self, milvus: MilvusIndex) -> None:
        name = f"t_{uuid4().hex[:12]}"
        milvus.create_collection(name, model())
        milvus._connection.call(lambda client: client.drop_alias(name))
        milvus.drop_collection(name)
        assert not milvus._connection.call(lambda client: client.has_collection(f"{name}__a1a1a1a1"))

    def test_a_request_that_a_drop_overtakes_says_that_the_collection_is_gone(
        self, milvus: MilvusIndex
    ) -> None:
        name = f"t_{uuid4().hex[:12]}"
        milvus.create_collection(name, model())

        def overtaken(client: MilvusClient) -> None:
            raise MilvusException(65535, "fail to Query")

        with pytest.raises(PictorError, match=r"refused a request on collection .* \(code 65535\)"):
            milvus._catalog.call(ref_of(name), overtaken)
        milvus.drop_collection(name)
        with pytest.raises(TargetError, match=f"collection '{name}' does not exist"):
            milvus._catalog.call(ref_of(name), overtaken)

    def test_an_interrupted_creation_is_finished_by_the_next(self, milvus: MilvusIndex) -> None:
        name = f"t_{uuid4().hex[:12]}"
        milvus.create_collection(name, model())
        milvus._connection.call(lambda client: client.drop_alias(name))
        assert milvus.create_collection(name, model()).rows == 0
        milvus.drop_collection(name)

    def test_a_released_collection_is_loaded_again(self, milvus: MilvusIndex) -> None:
        name = f"t_{uuid4().hex[:12]}"
        milvus.create_collection(name, model())
        put(milvus, ref_of(name), [row("a")])
        milvus._connection.call(lambda client: client.release_collection(f"{name}__a1a1a1a1"))
        assert milvus.search(ref_of(name), axis(0)[None], k=1)[0][0].key == "a"
        milvus.drop_collection(name)

    def test_the_version_is_told(self, milvus: MilvusIndex) -> None:
        assert milvus.server_version().startswith("Milvus")

    def test_a_lagging_look_sees_what_another_process_had_written(self, milvus: MilvusIndex) -> None:
        if milvus._connection.lite:
            pytest.skip("Milvus Lite serves one process")
        name = f"t_{uuid4().hex[:12]}"
        milvus.create_collection(name, model())
        with open_server() as other:
            for number in range(10):
                put(other, ref_of(name), [row("a", etag=f"e{number}")])
                milvus.create_collection(name, model())
                assert etags_in(milvus, ref_of(name), [row("a").id], latest=False) == {
                    row("a").id: f"e{number}"
                }
        milvus.drop_collection(name)

    def test_processes_that_create_at_once_agree(self, milvus: MilvusIndex) -> None:
        if milvus._connection.lite:
            pytest.skip("Milvus Lite serves one process")
        name = f"t_{uuid4().hex[:12]}"
        script = f"""
            from tests.contract.test_vector_index import model, open_server
            with open_server() as index:
                print(index.create_collection({name!r}, model()).fingerprint)
        """
        makers = [_python(script) for _ in range(3)]
        assert [maker.communicate(timeout=120)[0].strip() for maker in makers] == ["a1" * 32] * 3
        milvus.drop_collection(name)


def test_a_server_that_is_away_is_transient_and_named_without_its_password() -> None:
    with pytest.raises(TransientError, match=r"Milvus at http://\*\*\*@127\.0\.0\.1:1 is unavailable"):
        MilvusIndex("http://user:secret@127.0.0.1:1", timeout_s=2)


@pytest.mark.parametrize("token", ["root:a-wrong-password", "nobody:a-wrong-password", ""])
def test_a_refused_token_is_said_and_not_shown(token: str) -> None:
    with pytest.raises(
        CredentialsError, match=r"^Milvus at http://\S+ refused the token; is PICTOR_MILVUS_TOKEN right\?$"
    ) as caught:
        open_server(token=token)
    assert "a-wrong-password" not in "".join(traceback.format_exception(caught.value))


@pytest.fixture
def second_user() -> Iterator[str]:
    """The token of a user of the server that has no rights."""
    user, password = f"u_{uuid4().hex[:12]}", "a-password-of-a-test"
    with open_server() as root:
        root._connection.call(lambda client: client.create_user(user, password))
        yield f"{user}:{password}"
        root._connection.call(lambda client: client.drop_user(user))


def test_a_user_without_rights_is_told_so(second_user: str) -> None:
    with open_server() as root, open_server(token=second_user) as index:
        root.create_collection("rights", model())
        with pytest.raises(CredentialsError, match="the user of PICTOR_MILVUS_TOKEN has no right to do this"):
            index.get_collection("rights")
        root.drop_collection("rights")


def test_a_user_that_is_removed_under_way_is_refused(second_user: str) -> None:
    with open_server() as root, open_server(token=second_user) as index:
        root.create_collection("removed", model())
        # It stays without rights: a grant takes its turn with the clean-up of each collection dropped in the
        # last 20 minutes, and a session of tests drops hundreds.
        assert "has no right to do this" in _refusal(index, "removed")
        root._connection.call(lambda client: client.drop_user(second_user.partition(":")[0]))
        wait_until(lambda: "refused the token" in _refusal(index, "removed"), "its token is refused", 30)
        root.drop_collection("removed")


def _refusal(index: MilvusIndex, name: str) -> str:
    with pytest.raises(CredentialsError) as caught:
        index.get_collection(name)
    return str(caught.value)


@pytest.mark.parametrize("uri", ["ftp://host:1", "http://host:port", "http://", "http://:19530"])
def test_a_uri_that_cannot_be_one_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="Milvus URI"):
        MilvusIndex(uri)


def test_a_server_that_was_away_is_found_again(tmp_path: Path) -> None:
    directory = str(tmp_path / "served.db")
    server, engine, port = start_server_in_thread(directory)
    with MilvusIndex(f"http://127.0.0.1:{port}") as index:
        index.create_collection("photos", model())
        put(index, ref_of("photos"), [row("a")])
        _stop(server, engine)
        for _ in range(6):  # enough for gRPC's own patience to wear thin
            with pytest.raises(TransientError):
                index.get_versions(ref_of("photos"), [row("a").id])
        server, engine, _ = start_server_in_thread(directory, port=port)
        try:
            assert etags_in(index, ref_of("photos"), [row("a").id]) == {row("a").id: "e1"}
        finally:
            _stop(server, engine)


def _stop(server: Any, engine: Any) -> None:
    server.stop(grace=0).wait()
    engine.close()


class TestFolder:
    def test_a_second_process_is_told_who_has_the_index(self, tmp_path: Path) -> None:
        path = tmp_path / "milvus.db"
        script = f"""
            from pipeline.adapters.milvus.lite.index import LiteIndex
            from pipeline.errors import TransientError
            try:
                LiteIndex({str(path)!r})
            except TransientError as err:
                print(err)
        """
        with LiteIndex(str(path)):
            said = _python(script).communicate(timeout=60)[0]
        assert said.startswith(f"{path}: another pictor process has the index open")
        assert "PICTOR_MILVUS_URI" in said

    def test_a_closed_index_can_be_opened_again_with_its_rows(self, tmp_path: Path) -> None:
        path = str(tmp_path / "new" / "milvus.db")
        with LiteIndex(path) as index:
            index.create_collection("photos", model())
            put(index, ref_of("photos"), [row("a", axis(1))])
        with LiteIndex(path) as index:
            assert index.list_collections()[0].rows == 1
            assert index.search(ref_of("photos"), axis(1)[None], k=1)[0][0].score >= 0.999

    def test_float16_is_refused_with_both_versions(self, tmp_path: Path) -> None:
        with LiteIndex(str(tmp_path / "half.db"), vector_type="float16") as half:
            with pytest.raises(ConfigError, match=r"float16 .* 2\.4 or later, this is Milvus Lite 3"):
                half.create_collection("photos", model())
            assert half.list_collections() == []

    def test_a_file_in_the_way_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "milvus.db"
        path.write_bytes(b"SQLite format 3\0")
        with pytest.raises(ConfigError, match=r"milvus\.db is a file"):
            LiteIndex(str(path))

    def test_a_process_killed_while_writing_loses_nothing_that_was_acknowledged(self, tmp_path: Path) -> None:
        path = tmp_path / "milvus.db"
        acknowledged: dict[str, str] = {}
        for life in range(3):
            writer = _python(_WRITER.format(path=str(path), life=life))
            lines = _read_until(writer, 5 + 7 * life)
            writer.kill()
            lines += writer.communicate(timeout=30)[0].splitlines()
            for number in filter(str.isdigit, lines):
                acknowledged |= {f"{place}": f"{life}.{number}" for place in _written_places(int(number))}
        with LiteIndex(str(path)) as index:
            listed = ids_in(index, ref_of("photos"))
            assert len(listed) == len(set(listed))
            asked = {row(key).id: etag for key, etag in acknowledged.items()}
            stored = etags_in(index, ref_of("photos"), list(asked))
            behind = {
                key for key, etag in asked.items() if _version(stored.get(key, "-1.-1")) < _version(etag)
            }
            assert behind == set()
            assert index.get_collection("photos").rows == len(listed)  # type: ignore[union-attr]


_WRITER = """
    from tests.contract.test_vector_index import LiteIndex, model, put, ref_of, row, _written_places
    index = LiteIndex({path!r})
    index.create_collection("photos", model())
    for number in range(10_000):
        etag = f"{life}.{{number}}"
        put(index, ref_of("photos"), [row(str(place), etag=etag) for place in _written_places(number)])
        print(number, flush=True)
"""


def _written_places(number: int) -> range:
    """Keys of one upsert: half of them were in the upsert before."""
    start = number * 50 % 2000
    return range(start, start + 100)


def _version(etag: str) -> tuple[int, int]:
    life, _, number = etag.partition(".")
    return int(life), int(number)


def _read_until(process: "subprocess.Popen[str]", count: int) -> list[str]:
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(count)]
    assert lines[-1].isdigit(), process.stderr.read() if process.stderr else ""
    return lines


def _python(script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent.parent,
    )
