"""`pictor jobs` and `pictor ingest`: who is asked to do the work. No service is there."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.adapters.ledger.schema import job as job_table
from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.ingest.message import decode_batch
from pipeline.types import (
    EMBEDDED,
    WORKERS,
    BatchReport,
    FailedAt,
    Job,
    JobState,
    PlannedBatch,
    Reason,
    Rejected,
    embedded_on,
)
from tests.conftest import REPOSITORY
from tests.unit.commands import Output, pictor
from tests.unit.fakes import ref_of, request_of

HERE = embedded_on(socket.gethostname())
ELSEWHERE = embedded_on("elsewhere")


@pytest.fixture
def commands_ledger(home: Path) -> Iterator[SqlLedger]:
    """The ledger that the commands open."""
    with open_ledger(f"sqlite:///{home}/ledger.db") as ledger:
        yield ledger


def finished_job(ledger: SqlLedger, folder: Path, driver: str) -> Job:
    """Two objects of a folder, one of which failed, and is good now."""
    (folder / "bad.jpg").write_bytes(b"good by now")
    request = request_of(bucket=str(folder))
    job = ledger.create_job(request, driver=driver)
    planned = PlannedBatch(path="00000000", items=2, body=b"x")
    ledger.record_plan(job.job_id, [planned], cursor="good.jpg", ignored=0)
    ledger.finish_planning(job.job_id, ignored=0)
    rejected = Rejected(
        ref=ref_of("bad.jpg", etag="old", bucket=str(folder)),
        stage=FailedAt.DECODE,
        reason=Reason.TRUNCATED,
        detail="cut short",
    )
    ledger.report(
        BatchReport(job_id=job.job_id, path="00000000", indexed=1, unchanged=0, rejected=(rejected,))
    )
    assert ledger.finish_if_done(job.job_id)
    return ledger.get_job(job.job_id)


def test_a_retry_of_a_job_of_the_workers_is_left_to_them(
    commands_ledger: SqlLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    job = finished_job(commands_ledger, tmp_path, WORKERS)
    assert pictor(monkeypatch, "jobs", "retry", job.job_id, "--json") == 0
    out, err = capsys.readouterr()
    outcome = json.loads(out)
    assert (outcome["indexed"], outcome["failed"], outcome["pending"]) == (1, 0, 1)
    assert "try 1 object of job" in err
    assert "PICTOR_BROKER_URL is not set" in err
    after = commands_ledger.get_job(job.job_id)
    assert (after.state, after.counts.pending) == (JobState.RUNNING, 1)
    [batch] = commands_ledger.unpublished(job.job_id, 10)  # what a plan worker will publish
    [ref] = decode_batch(batch.body).refs
    assert (ref.key, ref.etag == "old") == ("bad.jpg", False)
    assert not (tmp_path / "milvus.db").exists(), "no index was opened here"


def test_without_failures_the_workers_are_not_woken(
    commands_ledger: SqlLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    job = commands_ledger.create_job(request_of(), driver=WORKERS)
    assert pictor(monkeypatch, "jobs", "retry", job.job_id) == 0
    assert "0 objects" in capsys.readouterr().err
    assert commands_ledger.get_job(job.job_id) == job


@pytest.mark.parametrize("command", ["retry", "resume"])
def test_an_embedded_job_of_another_host_is_not_run_here(
    commands_ledger: SqlLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, command: str
) -> None:
    job = finished_job(commands_ledger, tmp_path, ELSEWHERE)
    assert pictor(monkeypatch, "jobs", command, job.job_id) == 2
    err = capsys.readouterr().err
    assert f"job {job.job_id} is run on host elsewhere and cannot be run on {socket.gethostname()}" in err
    assert commands_ledger.get_job(job.job_id) == job


@pytest.mark.parametrize(("command", "state"), [("pause", JobState.PAUSED), ("cancel", JobState.CANCELLED)])
@pytest.mark.parametrize("driver", [WORKERS, HERE, ELSEWHERE, EMBEDDED])
def test_a_job_is_stopped_through_the_ledger_whoever_drives_it(
    commands_ledger: SqlLedger,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    driver: str,
    command: str,
    state: JobState,
) -> None:
    job = commands_ledger.create_job(request_of(), driver=driver)
    assert pictor(monkeypatch, "jobs", command, job.job_id) == 0
    assert commands_ledger.get_job(job.job_id).state is state
    assert capsys.readouterr().err == f"job {job.job_id} is {state}\n"


def test_a_resumed_job_of_the_workers_is_left_to_them(
    commands_ledger: SqlLedger, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    job = commands_ledger.create_job(request_of(), driver=WORKERS)
    commands_ledger.set_state(job.job_id, JobState.PAUSED)
    assert pictor(monkeypatch, "jobs", "resume", job.job_id) == 0
    assert commands_ledger.get_job(job.job_id).state is JobState.RUNNING
    assert "PICTOR_BROKER_URL is not set" in capsys.readouterr().err
    assert not (home / "milvus.db").exists()


# Pruning


def make_old(ledger: SqlLedger, job: Job, days: int) -> None:
    with ledger._writer.begin() as connection:
        ended = datetime.now(UTC) - timedelta(days=days)
        values = {"finished_at": ended, "created_at": ended}
        connection.execute(sa.update(job_table).where(job_table.c.job_id == job.job_id).values(values))


@pytest.fixture
def old_job(commands_ledger: SqlLedger, tmp_path: Path) -> Job:
    """Ended 100 days ago, and there is a newer one of its source."""
    old = finished_job(commands_ledger, tmp_path, WORKERS)
    make_old(commands_ledger, old, 100)
    finished_job(commands_ledger, tmp_path, WORKERS)
    return commands_ledger.get_job(old.job_id)


@pytest.mark.parametrize(
    ("options", "said", "is_pruned"),
    [
        ([], "deleted 1 batches, 1 failures and 0 refused submissions\n", True),
        (["--older-than", "14w"], "deleted 1 batches, 1 failures and 0 refused submissions\n", True),
        (["--older-than", "101d"], "deleted 0 batches, 0 failures and 0 refused submissions\n", False),
        (["--dry-run"], "would delete 1 batches, 1 failures and 0 refused submissions\n", False),
    ],
)
def test_old_jobs_are_pruned_by_age(
    commands_ledger: SqlLedger,
    old_job: Job,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    options: list[str],
    said: str,
    is_pruned: bool,
) -> None:
    assert pictor(monkeypatch, "jobs", "prune", *options) == 0
    assert capsys.readouterr().err == said
    after = commands_ledger.get_job(old_job.job_id)
    assert after.counts == old_job.counts
    assert (after.pruned_at is not None) == is_pruned


def test_a_pruned_job_says_so_where_its_details_are_asked_for(
    old_job: Job, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert pictor(monkeypatch, "jobs", "prune", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"jobs": 0, "batches": 1, "failures": 1}
    assert pictor(monkeypatch, "jobs", "show", old_job.job_id, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["failed"], shown["scanned"], shown["pruned_at"][:2]) == (1, 2, "20")
    assert pictor(monkeypatch, "jobs", "failures", old_job.job_id) == 0
    assert f"the failures of job {old_job.job_id} were pruned on 20" in capsys.readouterr().err
    assert pictor(monkeypatch, "jobs", "retry", old_job.job_id) == 2
    assert "its details were pruned on 20" in capsys.readouterr().err


@pytest.mark.parametrize("age", [" ", "90", "1.5d", "d", "-1d", "90 d", "9999999w", "1y", "23h", "0d"])
def test_an_age_that_is_none_is_refused_with_what_is_expected(
    commands_ledger: SqlLedger, old_job: Job, monkeypatch: pytest.MonkeyPatch, capsys: Output, age: str
) -> None:
    assert pictor(monkeypatch, "jobs", "prune", "--older-than", age) == 2
    assert ("such as 90d" in (err := capsys.readouterr().err)) or "a day old or more" in err
    assert "0:00" not in err, "ages are said in the words that they are given in"
    assert commands_ledger.get_job(old_job.job_id) == old_job


def test_without_a_retention_nothing_is_pruned_that_was_not_asked_for(
    commands_ledger: SqlLedger, old_job: Job, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("PICTOR_RETENTION_DAYS", "0")
    assert pictor(monkeypatch, "jobs", "prune") == 0
    assert "nothing is pruned without --older-than" in capsys.readouterr().err
    assert commands_ledger.get_job(old_job.job_id) == old_job


# Where `pictor ingest` runs

WRONG_BROKER = "redis://127.0.0.1/0"  # refused for its scheme, before anything is opened


def test_ingest_goes_to_the_broker_of_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("PICTOR_BROKER_URL", WRONG_BROKER)
    assert pictor(monkeypatch, "ingest", "s3://shop") == 2
    assert "amqp:// or amqps:// is expected" in capsys.readouterr().err
    assert not (home / "ledger.db").exists()


def test_a_broker_on_the_command_line_wins_over_that_of_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("PICTOR_BROKER_URL", "amqp://127.0.0.1:1/nowhere")
    assert pictor(monkeypatch, "ingest", "s3://shop", "--broker", WRONG_BROKER) == 2
    assert "amqp:// or amqps:// is expected" in capsys.readouterr().err


def test_a_collection_of_the_environment_goes_to_the_broker_with_the_job(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("PICTOR_BROKER_URL", WRONG_BROKER)
    monkeypatch.setenv("PICTOR_COLLECTION", "no-dashes")
    assert pictor(monkeypatch, "ingest", "s3://shop") == 2
    assert "collection name 'no-dashes'" in capsys.readouterr().err


def test_a_folder_cannot_go_to_the_broker_and_local_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("PICTOR_BROKER_URL", WRONG_BROKER)
    assert pictor(monkeypatch, "ingest", str(tmp_path)) == 2
    err = capsys.readouterr().err
    assert "workers elsewhere cannot read a folder" in err
    assert "--local" in err


def test_local_runs_here_whatever_the_environment_says(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("PICTOR_BROKER_URL", WRONG_BROKER)
    assert pictor(monkeypatch, "ingest", ".", "--local", "--collection", "no-dashes") == 2
    assert "collection name 'no-dashes'" in capsys.readouterr().err  # said by the local way, before it opens


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--local", "--broker", WRONG_BROKER], "--local and --broker exclude each other"),
        (["--broker", WRONG_BROKER, "--model", "builtin"], "--model is for --local"),
        (["--broker", WRONG_BROKER, "--restart"], "--restart is for --local"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, options: list[str], said: str
) -> None:
    assert pictor(monkeypatch, "ingest", "s3://shop", *options) == 2
    assert said in capsys.readouterr().err


WITHOUT = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None  # as if it were not installed
from pipeline.cli import main
main()
"""


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("celery,kombu,amqp", ["ingest", "s3://shop", "--broker", "amqp://127.0.0.1:1/"], "client"),
        ("sqlalchemy", ["jobs", "list"], "embedded"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_what_brings_it(
    tmp_path: Path, missing: str, arguments: list[str], extra: str
) -> None:
    command = [sys.executable, "-c", WITHOUT, missing, *arguments]
    environment = {"PICTOR_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"pip install 'pictor[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
