"""The main job through the command line: ingest, again, search, kill, retry.

The pictures are the shipped ones and, where they are found, 462 photographs.
"""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.adapters.ledger.sql_audit_log import open_audit_log
from pipeline.adapters.ledger.sql_ledger import open_ledger
from pipeline.adapters.milvus.index import MilvusIndex
from pipeline.audit.key_file import load_or_make_key
from pipeline.audit.receipt_file import check_receipt, check_record, read_receipts
from pipeline.demo.scenes import draw_scene
from tests.cli import Pictor
from tests.index_rows import ids_in
from tests.sample_data import photograph_sets

DEADLINE_S = 120
BATCHES = 32  # of a job that is killed: the last kill comes after nine


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `shipped` and `large`, and a file that is no picture."""
    top = tmp_path_factory.mktemp("photos")
    for name, folder in photograph_sets().items():
        shutil.copytree(folder, top / name, ignore=shutil.ignore_patterns("*.csv"))
    (top / "index.csv").write_text("no picture")
    return top


@pytest.fixture(scope="module")
def keys(photos: Path) -> list[str]:
    return sorted(str(path.relative_to(photos)) for path in photos.rglob("*.jpg"))


@pytest.fixture(scope="module")
def indexed(shared_pictor: Pictor, photos: Path) -> dict[str, Any]:
    return shared_pictor("ingest", photos, "--json").last


def test_every_photograph_is_indexed(indexed: dict[str, Any], keys: list[str]) -> None:
    counts = {
        name: indexed[name] for name in ("scanned", "indexed", "unchanged", "failed", "pending", "ignored")
    }
    assert len(keys) > 40
    assert counts == {
        "scanned": len(keys), "indexed": len(keys), "unchanged": 0, "failed": 0, "pending": 0, "ignored": 1,
    }  # fmt: skip


def test_a_second_run_embeds_nothing(
    shared_pictor: Pictor, photos: Path, indexed: dict[str, Any], keys: list[str]
) -> None:
    again = shared_pictor("ingest", photos, "--json").last
    assert (again["scanned"], again["unchanged"], again["indexed"]) == (len(keys), len(keys), 0)
    stages = shared_pictor("jobs", "show", again["job_id"], "--json").last["stage_seconds"]
    assert set(stages) <= {"lookup", "wait", "report"}  # no fetch, no decode, no device


def test_every_photograph_finds_itself_first(
    shared_pictor: Pictor, photos: Path, indexed: dict[str, Any], keys: list[str]
) -> None:
    queries, receipts = [photos / key for key in keys], shared_pictor.home / "receipts"
    answers = shared_pictor("search", *queries, "-k", "1", "--json", "--receipt", receipts).lines
    assert [answer["query"] for answer in answers] == [str(query) for query in queries]
    first = [answer["hits"][0] for answer in answers]
    assert [hit["key"] for hit in first] == keys
    assert min(hit["score"] for hit in first) >= 0.999
    check_entries(receipts, shared_pictor.home, found=[hit["id"] for hit in first])


def check_entries(receipts: Path, home: Path, *, found: list[str]) -> None:
    """Each answer of the command has its entry in the log, and the receipt to show it."""
    key = load_or_make_key(home, "")
    with open_audit_log(f"sqlite:///{home}/ledger.db", key) as log:
        for receipt, image_id in zip(read_receipts(receipts.read_text()), found, strict=True):
            check_receipt(receipt, key.verifier)
            record = log.get(receipt.record_id).record or b""
            check_record(receipt, record)
            assert [candidate["id"] for candidate in json.loads(record)["candidates"]] == [image_id]


def test_a_prefix_keeps_other_keys_out(shared_pictor: Pictor, photos: Path, indexed: dict[str, Any]) -> None:
    query, prefix = photos / "shipped" / "45-camera.jpg", "shipped/0"
    hits = shared_pictor("search", query, "--prefix", prefix, "-k", "5", "--json").last["hits"]
    everywhere = shared_pictor("search", query, "-k", "5", "--json").last["hits"]
    assert len(hits) == len(everywhere) == 5
    assert all(hit["key"].startswith(prefix) for hit in hits)
    assert any(not hit["key"].startswith(prefix) for hit in everywhere)


def test_three_kills_leave_the_same_index_as_an_undisturbed_run(
    pictor: Pictor, shared_pictor: Pictor, photos: Path, indexed: dict[str, Any], keys: list[str]
) -> None:
    items = -(-len(keys) // BATCHES)
    for kills in range(3):
        running = pictor.start("ingest", photos, "--batch-items", str(items), "--json")
        _wait_for_images(pictor, more_than=3 * kills * items)
        os.kill(running.pid, signal.SIGKILL)
        running.wait(timeout=DEADLINE_S)
    last = pictor("ingest", photos, "--batch-items", str(items), "--json").last
    assert last["scanned"] == last["indexed"] + last["unchanged"] == len(keys)
    assert (last["failed"], last["pending"]) == (0, 0)
    assert len(pictor("jobs", "list", "--json").lines) == 1  # each run went on with the same job
    disturbed, undisturbed = _vectors(pictor), _vectors(shared_pictor)
    assert disturbed.keys() == undisturbed.keys()
    assert max(np.abs(disturbed[id_] - undisturbed[id_]).max() for id_ in disturbed) < 1e-3


def test_a_retry_tries_the_failed_objects_and_no_other(pictor: Pictor, tmp_path: Path) -> None:
    folder = _gallery(tmp_path / "gallery", 5)
    good = (folder / "scene-3.jpg").read_bytes()
    (folder / "scene-3.jpg").write_bytes(good[: len(good) // 2])
    first = pictor("ingest", folder, "--json").last
    assert (first["indexed"], first["failed"]) == (4, 1)
    (failure,) = pictor("jobs", "failures", first["job_id"], "--json").lines
    assert (failure["key"], failure["stage"], failure["reason"]) == ("scene-3.jpg", "decode", "truncated")
    (folder / "scene-3.jpg").write_bytes(good)
    retried = pictor("jobs", "retry", first["job_id"], "--json").last
    assert (retried["scanned"], retried["indexed"], retried["failed"], retried["pending"]) == (5, 5, 0, 0)
    assert pictor("jobs", "failures", first["job_id"], "--json").lines == []
    job = pictor("jobs", "show", first["job_id"], "--json").last
    assert (job["state"], job["indexed"], job["unchanged"]) == ("completed", 5, 0)


def test_a_changed_file_is_embedded_again_and_a_spoilt_one_is_not_found_any_more(
    pictor: Pictor, tmp_path: Path
) -> None:
    folder = _gallery(tmp_path / "gallery", 4)
    pictor("ingest", folder, "--json")
    draw_scene(40).save(folder / "scene-1.jpg")
    (folder / "scene-2.jpg").write_bytes(b"no picture any more")
    again = pictor("ingest", folder, "--json").last
    assert (again["indexed"], again["unchanged"], again["failed"]) == (1, 2, 1)
    hits = pictor("search", folder / "scene-1.jpg", "-k", "10", "--json").last["hits"]
    assert (hits[0]["key"], hits[0]["score"] > 0.999) == ("scene-1.jpg", True)
    assert {hit["key"] for hit in hits} == {"scene-0.jpg", "scene-1.jpg", "scene-3.jpg"}


ODD_NAMES = [
    "it's.jpg", 'say "hi".jpg', "back\\slash.jpg", "new\nline.jpg", "tab\t.jpg", "🦊.jpg", "100%_off.jpg",
    "a b+c&d=e?f#g.jpg", "Zürich e\u0301.jpg", "[bold]x.jpg", "'; drop.jpg", "{x}.jpg",
]  # fmt: skip


def test_odd_names_are_indexed_found_and_filtered_as_they_are(pictor: Pictor, tmp_path: Path) -> None:
    folder = tmp_path / "gallery"
    folder.mkdir()
    for number, name in enumerate(ODD_NAMES):
        draw_scene(number).save(folder / name)
    os.rename(folder / "it's.jpg", os.fsencode(folder) + b"/caf\xe9.jpg")  # noqa: PTH104 - not UTF-8
    counts = pictor("ingest", folder, "--json").last
    assert (counts["scanned"], counts["indexed"]) == (len(ODD_NAMES), len(ODD_NAMES))
    queries = [folder / name for name in ODD_NAMES[1:]]
    found = [answer["hits"][0]["key"] for answer in pictor("search", *queries, "-k", "1", "--json").lines]
    assert found == ODD_NAMES[1:]
    for name in ("back\\slash.jpg", 'say "hi".jpg', "100%_off.jpg", "new\nline.jpg"):
        hits = pictor("search", queries[0], "--prefix", name, "--json").last["hits"]
        assert [hit["key"] for hit in hits] == [name]


def test_the_page_is_whole_in_one_file(pictor: Pictor, tmp_path: Path) -> None:
    folder = _gallery(tmp_path / "<gallery> & co", 3)
    pictor("ingest", folder, "--json")
    pictor("search", folder / "scene-0.jpg", "-k", "3", "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count('src="data:image/jpeg;base64,') == 4  # the query and three hits
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page


def _gallery(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        draw_scene(number).save(folder / f"scene-{number}.jpg", quality=90)
    return folder


def _wait_for_images(pictor: Pictor, *, more_than: int) -> None:
    """Until so many are reported: the run is in the middle of its work."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if (pictor.home / "ledger.db").exists():
            with open_ledger(f"sqlite:///{pictor.home / 'ledger.db'}") as ledger:
                jobs = ledger.list_jobs()
            if jobs and jobs[0].counts.indexed + jobs[0].counts.unchanged > more_than:
                return
        time.sleep(0.05)  # between two looks at a condition with a deadline
    raise AssertionError(f"not {more_than} images within {DEADLINE_S} s")


def _vectors(pictor: Pictor) -> dict[str, np.ndarray]:
    with MilvusIndex(str(pictor.home / "milvus.db")) as index:
        live = index.live("images")
        ids = ids_in(index, live)
        return {row.id: row.vector for row in index.get_rows(live, ids)}
