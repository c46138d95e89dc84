"""What the commands print and how they end, as far as it needs neither index nor model."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import typer
from numpy.typing import NDArray

from pipeline.adapters.folder.store import FolderStore
from pipeline.adapters.ledger.sql_ledger import open_ledger
from pipeline.cli.dry_run import show_outlook
from pipeline.cli.exit_codes import EXIT_UNFINISHED, EXIT_USAGE
from pipeline.cli.output import fail, write_json, write_table
from pipeline.cli.run_here import finish
from pipeline.embedded import job_lock
from pipeline.errors import FatalError, PictorError, TargetError
from pipeline.ingest.system_folders import SYSTEM_FOLDERS
from pipeline.names import visible
from pipeline.ports import Deps, Ledger
from pipeline.service.submit import open_job
from pipeline.settings import Settings
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    BatchReport,
    FailedAt,
    Job,
    JobState,
    ObjectRef,
    PlannedBatch,
    Reason,
    Rejected,
    embedded_on,
)
from tests.unit.commands import Output, pictor
from tests.unit.fakes import BUCKET, HERE, FakeEmbedder, distinct_png, ref_of, request_of

BAD_KEY = 'odd\n"key"\x1b[31m.jpg'


@pytest.fixture
def job(home: Path) -> Job:
    """A finished job with one failure, in the ledger that the commands open."""
    with open_ledger(f"sqlite:///{home}/ledger.db") as ledger:
        job = ledger.create_job(request_of(), driver=embedded_on(socket.gethostname()))
        ledger.record_plan(
            job.job_id, [PlannedBatch(path="00000000", items=3, body=b"x")], cursor="c.jpg", ignored=2
        )
        ledger.finish_planning(job.job_id, ignored=0)
        rejected = Rejected(
            ref=ref_of(BAD_KEY), stage=FailedAt.DECODE, reason=Reason.TRUNCATED, detail="cut short"
        )
        ledger.report(
            BatchReport(
                job_id=job.job_id,
                path="00000000",
                indexed=2,
                unchanged=0,
                rejected=(rejected,),
                seconds={"fetch": 1.5, "wait": 1.0, "device": 3.0},
            )
        )
        ledger.finish_if_done(job.job_id)
        return ledger.get_job(job.job_id)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("图/é/😀", "图/é/😀"),
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\udcff.jpg", "\\udcff.jpg"),
        ("", ""),
    ],
)
def test_what_a_terminal_would_obey_is_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_an_object_is_one_line_whatever_its_keys_hold(capsys: Output) -> None:
    write_json({"key": BAD_KEY, "name": "图", "score": 0.5})
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert json.loads(out) == {"key": BAD_KEY, "name": "图", "score": 0.5}
    assert "图" in out
    assert err == ""


def test_a_table_shows_cells_as_they_are_and_obeys_nothing_in_them(capsys: Output) -> None:
    write_table(("key", "n"), [("[red]a[/red].jpg", 1), (BAD_KEY, 2)])
    out, _ = capsys.readouterr()
    assert "[red]a[/red].jpg" in out
    assert visible(BAD_KEY) in out
    assert "\x1b" not in out


def test_the_columns_of_a_table_are_as_wide_as_their_widest_cell(capsys: Output) -> None:
    write_table(("key", "n", "id"), [("图é.jpg", 1, "a"), ("b.jpg", 22, None)])
    out, _ = capsys.readouterr()
    assert out == "key      n   id  \n图é.jpg  1   a   \nb.jpg    22  None\n"


def test_a_cell_that_is_too_long_for_a_line_goes_on_in_the_next(capsys: Output) -> None:
    write_table(("key", "n"), [("k" * 250, 1)])
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.split() == ["key", "n"]
    assert len(first) == len(second) == 200
    assert second.split() + third.split() == ["k" * 197, "1", "k" * 53]


def test_a_table_without_rows_is_its_header(capsys: Output) -> None:
    write_table(("key", "n"), [])
    assert capsys.readouterr().out == "key  n\n"


def test_errors_go_to_standard_error_as_one_line(capsys: Output) -> None:
    fail(f"{BAD_KEY}: [bold]gone[/bold]")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"error: {visible(BAD_KEY)}: [bold]gone[/bold]\n"


@pytest.fixture
def gallery(home: Path, deps: Deps, store: MemoryStore) -> Deps:
    """Three good images, a broken one and a text."""
    for number in range(3):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    store.put(BUCKET, "broken.jpg", b"no picture, but a text of some length")
    store.put(BUCKET, "notes.txt", b"")
    return deps


def run_to_the_end(deps: Deps, *, max_failure_rate: float = 1.0, as_json: bool = True) -> None:
    job, _ = open_job(request_of(), deps, driver=HERE)
    finish(job, deps, Settings.from_env(), max_failure_rate=max_failure_rate, as_json=as_json)


def test_ingest_prints_its_counts_as_one_object(gallery: Deps, capsys: Output) -> None:
    run_to_the_end(gallery)
    out, _ = capsys.readouterr()
    outcome = json.loads(out)
    seconds, images_per_s = outcome.pop("seconds"), outcome.pop("images_per_s")
    assert outcome == {
        "job_id": gallery.ledger.list_jobs()[0].job_id,
        "scanned": 4,
        "indexed": 3,
        "unchanged": 0,
        "failed": 1,
        "pending": 0,
        "ignored": 1,
        "removed": 0,
        "faces_found": 0,
        "without_faces": 0,
        "refused": "",
    }
    assert images_per_s == pytest.approx(4 / seconds, rel=0.05, abs=0.051)  # both are rounded


def test_ingest_prints_for_people_what_adds_up(gallery: Deps, capsys: Output) -> None:
    run_to_the_end(gallery, as_json=False)
    out, _ = capsys.readouterr()
    assert "4 scanned = 3 indexed + 0 unchanged + 1 failed + 0 pending; 1 ignored" in out


@pytest.mark.parametrize(
    ("links", "said"), [(0, ""), (1, "1 symbolic link was"), (2, "2 symbolic links were")]
)
def test_links_that_are_not_followed_are_said_with_one_of_them_and_what_to_do(
    links: int, said: str, gallery: Deps, tmp_path: Path, capsys: Output
) -> None:
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(links):
        (folder / f"{number}\x1b.png").symlink_to(tmp_path / "elsewhere.png")
    (folder / "notes.txt").symlink_to(tmp_path / "elsewhere.txt")
    deps = replace(gallery, store=FolderStore())
    job, _ = open_job(request_of(bucket=str(folder)), deps, driver=HERE)
    finish(job, deps, Settings.from_env(), max_failure_rate=1.0, as_json=False)
    out, err = capsys.readouterr()
    assert f"0 pending; {links + 1} ignored" in out
    assert (f"{said} ignored, for example 0\\x1b.png. A link is followed when" in err) == bool(links)
    assert "\x1b" not in err


def test_the_help_of_ingest_lists_the_folders_that_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    assert pictor(monkeypatch, "ingest", "--help") == 0
    out, _ = capsys.readouterr()
    assert ", ".join(SYSTEM_FOLDERS) in " ".join(out.split())


def test_too_large_a_share_of_failures_ends_with_1_after_the_counts(gallery: Deps, capsys: Output) -> None:
    run_to_the_end(gallery, max_failure_rate=0.25)
    with pytest.raises(typer.Exit) as ended:
        run_to_the_end(gallery, max_failure_rate=0.24)
    assert ended.value.exit_code == 1
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["failed"] == 1
    assert "1 of 4 images failed" in err


def test_an_unfinished_job_prints_its_counts_and_how_to_go_on(
    gallery: Deps, embedder: FakeEmbedder, capsys: Output
) -> None:
    embedder.fail_next(FatalError("the device is gone"))
    with pytest.raises(typer.Exit) as ended:
        run_to_the_end(gallery)
    assert ended.value.exit_code == EXIT_UNFINISHED
    out, err = capsys.readouterr()
    assert json.loads(out)["pending"] == 4
    assert "error: the device is gone\n" in err
    assert "Run the same command again" in err


class VanishingStore(MemoryStore):
    """Its bucket goes away while it is listed."""

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        yield from list(super().list_objects(bucket, prefix, start_after))[:1]
        raise TargetError(f"folder {bucket} does not exist")


def test_a_source_that_vanishes_in_the_middle_of_a_run_ends_with_1(gallery: Deps, capsys: Output) -> None:
    """2 says that nothing was started."""
    with pytest.raises(typer.Exit) as ended:
        run_to_the_end(replace(gallery, store=VanishingStore(BUCKET)))
    assert ended.value.exit_code == EXIT_UNFINISHED
    err = capsys.readouterr().err
    assert f"error: folder {BUCKET} does not exist\n" in err
    assert "Run the same command again" in err


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python ignores SIGINT where its parent did: a shell does, for what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class StoppingLedger:
    """A ledger. The first look at a job after a group was on the device brings a signal to this thread.

    A signal that another thread raises may reach the main thread anywhere, also where nothing can hear of it.
    """

    def __init__(self, ledger: Ledger, embedder: FakeEmbedder, number: int) -> None:
        self._ledger = ledger
        self._embedder = embedder
        self._number: int | None = number

    def __getattr__(self, name: str) -> object:
        return getattr(self._ledger, name)

    def get_job(self, job_id: str) -> Job:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and self._embedder.calls and self._number is not None:
            number, self._number = self._number, None
            signal.raise_signal(number)
        return self._ledger.get_job(job_id)


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGTERM, 143, "Stopped by SIGTERM. The job is unfinished"),
        (signal.SIGINT, 130, "The job is unfinished"),
    ],
)
def test_a_run_that_is_stopped_says_how_to_go_on(
    gallery: Deps,
    embedder: FakeEmbedder,
    capsys: Output,
    interruptible: None,
    number: int,
    code: int,
    said: str,
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    ledger = cast("Ledger", StoppingLedger(gallery.ledger, embedder, number))
    with pytest.raises(typer.Exit) as ended:
        run_to_the_end(replace(gallery, ledger=ledger))
    assert ended.value.exit_code == code
    out, err = capsys.readouterr()
    assert json.loads(out)["scanned"] == 4
    assert err.startswith(said)
    assert "Run the same command again to go on." in err
    assert signal.getsignal(signal.SIGTERM) is before


# What a job did not dare to remove


@pytest.fixture
def emptied(gallery: Deps, store: MemoryStore) -> Deps:
    """A bucket that was indexed, and of which nearly all is gone."""
    for number in range(3, 10):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    run_to_the_end(gallery)
    for number in range(9):
        store.delete(BUCKET, f"{number}.png")
    return gallery


def test_a_refused_removal_is_in_the_json_and_ends_with_1(emptied: Deps, capsys: Output) -> None:
    capsys.readouterr()
    with pytest.raises(typer.Exit) as ended:
        run_to_the_end(emptied)
    assert ended.value.exit_code == EXIT_UNFINISHED
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["removed"], outcome["refused"][:22]) == (0, "9 of 10 indexed object")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_dry_run_of_a_refused_removal_ends_as_the_run_would(
    emptied: Deps, capsys: Output, as_json: bool
) -> None:
    capsys.readouterr()
    with pytest.raises(typer.Exit) as ended:
        show_outlook(request_of(), None, emptied, as_json=as_json)
    assert ended.value.exit_code == EXIT_UNFINISHED
    out, err = capsys.readouterr()
    assert "9 of 10 indexed objects" in err
    assert ("9 vanished" in out) or json.loads(out)["refused"].startswith("9 of 10")


class CancellingEmbedder(FakeEmbedder):
    """Somebody cancels the job while its first group is on the device."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        for job in self._ledger.list_jobs():
            self._ledger.set_state(job.job_id, JobState.CANCELLED)
        return super().embed_images(pixels)


def test_a_job_that_is_cancelled_while_it_runs_is_not_called_done(gallery: Deps, capsys: Output) -> None:
    with pytest.raises(PictorError, match="is cancelled"):
        run_to_the_end(replace(gallery, embedder=CancellingEmbedder(gallery.ledger)))
    out, err = capsys.readouterr()
    assert json.loads(out)["scanned"] == 4
    assert "go on" not in err


def test_a_job_that_another_process_runs_is_left_alone(
    job: Job, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    with job_lock(home / "locks", job.job_id):
        assert pictor(monkeypatch, "jobs", "retry", job.job_id) == EXIT_USAGE
    assert f"job {job.job_id} is being run by another process" in capsys.readouterr().err


def test_a_job_is_shown_with_counts_that_add_up(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert pictor(monkeypatch, "jobs", "list", "--json") == 0
    [line] = capsys.readouterr().out.splitlines()
    shown = json.loads(line)
    assert shown["job_id"] == job.job_id
    assert shown["state"] == "completed"
    assert (shown["scanned"], shown["indexed"], shown["unchanged"]) == (3, 2, 0)
    assert (shown["failed"], shown["pending"], shown["ignored"]) == (1, 0, 2)
    assert pictor(monkeypatch, "jobs", "show", job.job_id, "--json") == 0
    assert json.loads(capsys.readouterr().out) == shown | {
        "stage_seconds": {"fetch": 1.5, "wait": 1.0, "device": 3.0},
        "bottleneck": "device-bound: 75 % of worker time, add embed workers or a faster device",
    }


def test_a_failure_is_shown_with_stage_reason_and_object(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert pictor(monkeypatch, "jobs", "failures", job.job_id, "--json") == 0
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "key": BAD_KEY,
        "stage": "decode",
        "reason": "truncated",
        "detail": "cut short",
        "bucket": BUCKET,
        "etag": "e1",
        "size_bytes": 10,
        "id": ref_of(BAD_KEY).image_id,
    }


def test_tables_show_the_same_for_people(job: Job, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    assert pictor(monkeypatch, "jobs", "list") == 0
    assert job.job_id in capsys.readouterr().out
    assert pictor(monkeypatch, "jobs", "show", job.job_id) == 0
    assert "device-bound: 75 % of worker time" in capsys.readouterr().out
    assert pictor(monkeypatch, "jobs", "failures", job.job_id) == 0
    out, _ = capsys.readouterr()
    assert visible(BAD_KEY) in out
    assert "\x1b" not in out


BAD_USAGE = {
    "no such command": ["scan", "."],
    "no arguments": [],
    "no source": ["ingest"],
    "an unknown option": ["ingest", ".", "--fast"],
    "a source that is not there": ["ingest", "/no/such/folder"],
    "an unset variable as source": ["ingest", ""],
    "an unknown scheme": ["ingest", "gs://shop"],
    "a bad collection name": ["ingest", ".", "--collection", "no-dashes"],
    "a batch that is too large": ["ingest", ".", "--batch-items", "1001"],
    "a query that is nothing": ["search", "/no/such/file.jpg"],
    "a query that is a folder": ["search", "/"],
    "a query without a key": ["search", "s3://shop"],
    "a k of zero": ["search", "0" * 32, "-k", "0"],
    "metadata that is no pair": ["search", "0" * 32, "--metadata", "camera"],
    "a job that is not there": ["jobs", "show", "no-such-job"],
    "failures of a job that is not there": ["jobs", "failures", "no-such-job"],
}


@pytest.mark.parametrize("arguments", BAD_USAGE.values(), ids=BAD_USAGE)
def test_bad_usage_ends_with_2_and_says_why_on_standard_error(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, arguments: list[str]
) -> None:
    assert pictor(monkeypatch, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" or not arguments  # without arguments the help is the answer
    assert "Traceback" not in err
    assert err.strip() or not arguments


def test_a_bad_setting_ends_with_2_and_does_not_show_its_value(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("PICTOR_BATCH_ITEMS", "hunter2")
    assert pictor(monkeypatch, "jobs", "list") == 2
    out, err = capsys.readouterr()
    assert "PICTOR_BATCH_ITEMS" in err
    assert "hunter2" not in out + err


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["ingest", "--help"], ["jobs", "list"]])
def test_what_is_asked_and_answered_ends_with_0(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, arguments: list[str]
) -> None:
    assert pictor(monkeypatch, *arguments) == 0
    out, err = capsys.readouterr()
    assert out != ""
    assert err == ""
