"""Milvus Lite keeps the rows, a copy answers: that the two never tell different stories."""

import json
import os
import subprocess
import sys
import tarfile
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from milvus_lite import MilvusLite
from milvus_lite.engine.collection import Collection
from pymilvus import MilvusClient

from pipeline.adapters.milvus.index import MilvusIndex
from pipeline.adapters.milvus.lite.index import LiteIndex
from pipeline.errors import ConfigError, TransientError
from pipeline.types import CollectionRef, SearchFilter
from tests.conftest import REPOSITORY
from tests.contract.indexes import axis, model, row, unit
from tests.index_rows import ids_in, put
from tests.loaded_packages import loaded_packages

T = TypeVar("T")

LIMIT_S = 60.0
PHOTOS = CollectionRef(name="photos", fingerprint=model().fingerprint)
OLD_FOLDER = REPOSITORY / "tests" / "golden" / "folder_before_the_copy.tar.xz"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "milvus.db"


@pytest.fixture
def old_folder(tmp_path: Path) -> Path:
    """Made by the build before the copy: two data files, a delta file and a log that its process left behind.

    Written were a, b, gone and ä…; b again and c; gone was deleted. Then, only in the log, d and c again, and
    a was deleted.
    """
    with tarfile.open(OLD_FOLDER) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "milvus.db"


def etags(path: Path) -> dict[str, str]:
    with LiteIndex(str(path)) as index:
        return {row.ref.key: row.ref.etag for row in index.get_rows(PHOTOS, ids_in(index, PHOTOS))}


def fill(path: Path, keys: str) -> None:
    with LiteIndex(str(path)) as index:
        index.create_collection("photos", model())
        put(index, PHOTOS, [row(key, axis(place)) for place, key in enumerate(keys)])


class TestOldFolders:
    def test_every_row_is_found_with_all_it_says(self, old_folder: Path) -> None:
        odd = 'ä/%_"\\ 😀'
        assert etags(old_folder) == {"b": "e2", "c": "e3", "d": "e1", odd: "e1"}
        with LiteIndex(str(old_folder)) as index:
            (stored,) = index.get_rows(PHOTOS, [row(odd).id])
            assert stored.ref == row(odd).ref
            assert (stored.vector == axis(3)).all()
            assert stored.metadata == {"Ö~/[x]\"'\\": 'a\n"b\\ é😀', "cam": "1"}
            assert index.search(PHOTOS, axis(6)[None], k=1)[0][0].key == "d"
            where = SearchFilter(metadata={"cam": "1"})
            assert [hit.key for hit in index.search(PHOTOS, axis(0)[None], k=9, where=where)[0]] == [odd]

    def test_it_is_written_on(self, old_folder: Path) -> None:
        with LiteIndex(str(old_folder)) as index:
            index.create_collection("photos", model())
            put(index, PHOTOS, [row("b", etag="e3"), row("new")])
            index.delete_images(PHOTOS, [row("c").id])
        assert {key: etag for key, etag in etags(old_folder).items() if key in "abcd"} == {
            "b": "e3",
            "d": "e1",
        }

    def test_a_folder_of_another_format_is_named(self, old_folder: Path) -> None:
        (manifest,) = old_folder.glob("collections/*/manifest.json")
        etags(old_folder)  # the log is in data files now
        manifest.write_text(
            json.dumps(json.loads(manifest.read_text()) | {"manifest_format_version": 3}), encoding="utf-8"
        )
        with pytest.raises(
            ConfigError, match=r"milvus\.db was written by another Milvus Lite.* format 3, 2 is"
        ):
            etags(old_folder)


class TestPymilvusAlone:
    def test_reads_what_was_written(self, path: Path) -> None:
        fill(path, "abc")
        client = MilvusClient(str(path))
        client.load_collection("photos")
        hits = client.search(
            "photos", [axis(1).tolist()], limit=1, output_fields=["key", "metadata", "tenant"]
        )
        assert hits[0][0]["entity"] == {"key": "b", "metadata": {}, "tenant": "default"}
        client.close()

    def test_finds_rows_where_its_own_would_be(self, path: Path) -> None:
        fill(path, "a")
        with MilvusIndex(str(path)) as milvus:
            put(milvus, PHOTOS, [row("b")])
        with MilvusLite(str(path)) as engine:
            collection = engine.get_collection("photos")
            assert len({segment.partition for segment in collection._segments_snapshot()}) == 1

    def test_what_it_wrote_is_answered(self, path: Path) -> None:
        fill(path, "abc")
        with MilvusIndex(str(path)) as milvus:
            put(milvus, PHOTOS, [row("b", etag="theirs"), row("new", axis(5))])
            milvus.delete_images(PHOTOS, [row("c").id])
        assert etags(path) == {"a": "e1", "b": "theirs", "new": "e1"}

    def test_keeps_us_out_while_it_has_the_folder(self, path: Path) -> None:
        fill(path, "a")
        with (
            MilvusIndex(str(path)),
            pytest.raises(TransientError, match="another pictor process has the index"),
        ):
            LiteIndex(str(path))

    def test_is_kept_out_while_we_have_it(self, path: Path) -> None:
        fill(path, "a")
        with (
            LiteIndex(str(path)),
            pytest.raises(TransientError, match="another pictor process has the index"),
        ):
            MilvusIndex(str(path))


class TestTheCopy:
    def test_a_search_imports_no_engine(self, path: Path) -> None:
        fill(path, "abc")
        script = f"""
            import sys
            from pipeline.adapters.milvus.lite.index import LiteIndex
            from pipeline.cli import search_here  # with all it imports
            with LiteIndex({str(path)!r}) as index:
                PHOTOS = index.live("photos")
                (found,) = index.get_rows(PHOTOS, [{row("b").id!r}])
                assert index.search(PHOTOS, found.vector[None], k=1)[0][0].key == "b"
            engines = ("pymilvus", "milvus_lite", "grpc", "pyarrow", "faiss", "torch")
            print([name for name in engines if name in sys.modules])
        """
        assert run_python(script) == "[]"

    def test_a_search_by_a_stored_id_imports_nothing_heavy_but_the_ledger(self, path: Path) -> None:
        fill(path, "abc")
        arguments = ("search", row("b").id, "--collection", "photos")
        # The search is recorded in the ledger.
        assert loaded_packages(path.parent, *arguments) == {"sqlalchemy"}

    @pytest.mark.parametrize("name", ["rows", "vectors", "texts", "metadata", "dead", "stamp.json"])
    def test_a_file_that_lost_its_end_is_not_believed(self, path: Path, name: str) -> None:
        fill(path, "abc")
        with LiteIndex(str(path)) as index:  # so that each file holds something
            put(index, PHOTOS, [row("a", etag="e2", metadata={"cam": "1"})])
        (file,) = path.with_name("milvus.db.copy").rglob(name)
        os.truncate(file, file.stat().st_size - 1)
        assert etags(path) == {"a": "e2", "b": "e1", "c": "e1"}

    def test_it_can_be_removed_at_any_time(self, path: Path) -> None:
        fill(path, "abc")
        copy = path.with_name("milvus.db.copy")
        for file in sorted(copy.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        assert set(etags(path)) == set("abc")

    def test_a_dropped_collection_leaves_none(self, path: Path) -> None:
        fill(path, "abc")
        with LiteIndex(str(path)) as index:
            index.drop_collection("photos")
            assert [file.name for file in path.with_name("milvus.db.copy").iterdir()] == ["LOCK"]

    def test_rows_that_were_replaced_many_times_over_take_no_room_forever(self, path: Path) -> None:
        rows = [row(f"{n}", vector) for n, vector in enumerate(unit(1, 6000))]
        fill(path, "")
        with LiteIndex(str(path)) as index:
            for _ in range(3):
                put(index, PHOTOS, rows)
            index.flush(PHOTOS)
            assert len(ids_in(index, PHOTOS)) == 6000
            (vectors,) = path.with_name("milvus.db.copy").rglob("vectors")
            assert vectors.stat().st_size == 6000 * 8 * 4

    def test_a_disk_that_is_full_leaves_what_milvus_lite_has(self, path: Path) -> None:
        rows = [row(f"{n}", vector) for n, vector in enumerate(unit(1, 2000))]
        fill(path, "")
        with LiteIndex(str(path)) as index:
            put(index, PHOTOS, rows)
        script = f"""
            import resource, signal
            from pipeline.adapters.milvus.lite.index import LiteIndex
            from pipeline.errors import TransientError
            from tests.contract.test_folder_index import PHOTOS
            from tests.contract.indexes import axis, row
            from tests.index_rows import ids_in, put
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            largest = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            with LiteIndex({str(path)!r}) as index:
                index.search(PHOTOS, axis(0)[None], k=1)
                resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, largest))  # the log is new and small
                try:
                    put(index, PHOTOS, [row("new", axis(1))])
                except TransientError as err:
                    print(err)
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
                best = index.search(PHOTOS, axis(1)[None], k=1)[0][0]
                print(best.key, len(ids_in(index, PHOTOS)))
        """
        said = run_python(script).splitlines()
        assert said == [f"{path}.copy: the index cannot be written (File too large)", "new 2001"]


class TestReadsBesideAWrite:
    """Milvus Lite may flush for seconds. Searches of the service must not wait for that."""

    def test_all_reads_are_answered_while_milvus_lite_writes(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with LiteIndex(str(path)) as index:
            index.create_collection("photos", model())
            put(index, PHOTOS, [row("a", axis(0))])
            id_ = row("a").id
            begun, go_on = threading.Event(), threading.Event()
            write = Collection._apply

            def slow_write(collection: Collection, operation: object) -> None:
                begun.set()
                assert go_on.wait(LIMIT_S)
                write(collection, operation)

            monkeypatch.setattr(Collection, "_apply", slow_write)
            writing = threading.Thread(target=put, args=(index, PHOTOS, [row("b", axis(1))]))
            writing.start()
            try:
                assert begun.wait(LIMIT_S)
                with ThreadPoolExecutor(1) as reader:

                    def answered(read: Callable[[], T]) -> T:
                        return reader.submit(read).result(LIMIT_S)

                    [hits] = answered(lambda: index.search(PHOTOS, axis(0)[None], k=5))
                    info = answered(lambda: index.get_collection("photos"))
                    assert [hit.key for hit in hits] == ["a"]
                    assert info is not None
                    assert info.rows == 1
                    assert [found.id for found in answered(lambda: index.get_rows(PHOTOS, [id_]))] == [id_]
                    assert answered(lambda: index.get_versions(PHOTOS, [id_]))[id_].etag == "e1"
                    assert list(answered(lambda: index.get_images(PHOTOS, [id_]))) == [id_]
                    assert answered(lambda: ids_in(index, PHOTOS)) == [id_]
            finally:
                go_on.set()
                writing.join(LIMIT_S)
            assert len(ids_in(index, PHOTOS)) == 2


def run_python(script: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_a_process_killed_at_any_line_leaves_answers_that_milvus_lite_supports(tmp_path: Path) -> None:
    trials = 10  # of three lives each
    crash = subprocess.run(
        [sys.executable, "-m", "tests.contract.folder_crash", str(tmp_path), str(trials), "1"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=540,
        check=False,
    )
    assert crash.returncode == 0, crash.stdout + crash.stderr
    assert int(crash.stdout.split()[0]) > trials / 2
