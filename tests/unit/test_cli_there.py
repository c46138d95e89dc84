"""Commands through a running service: they print what they print without one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import typer
from anyio.from_thread import start_blocking_portal

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.api.app import make_app
from pipeline.api.backend import Backend
from pipeline.api.runner import EmbeddedRunner
from pipeline.cli.exit_codes import EXIT_INTERRUPTED, EXIT_UNFINISHED, exit_code_of
from pipeline.cli.follow_there import follow_to_end
from pipeline.cli.ingest_options import IngestOptions
from pipeline.cli.ingest_there import ingest_there
from pipeline.cli.int8_words import with_int8_in_words
from pipeline.cli.jobs_here import JobsHere
from pipeline.cli.jobs_there import JobsThere
from pipeline.cli.running_service import RunningService
from pipeline.cli.search_options import SearchOptions
from pipeline.cli.search_there import search_there
from pipeline.client import Job, Pictor
from pipeline.embedded import DriverOptions
from pipeline.errors import ArgumentError, NotFoundError, PictorError
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.service.answers import collection_json
from pipeline.settings import Settings
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import Int8Recall, JobState, image_id_of
from tests.unit.api_client import ORIGIN, backend_of
from tests.unit.client_doors import AT_ONCE, InThisProcess
from tests.unit.fakes import BUCKET, COLLECTION, HERE, LIMITS, distinct_png, plan_one_batch, request_of
from tests.unit.test_client import failed_job

Output = pytest.CaptureFixture[str]


class Client(Pictor):
    """Sees one event alone if `is_brief`, and is stopped after it, as by Ctrl-C, if `is_stopped`."""

    is_brief = False
    is_stopped = False

    def follow_job(self, job_id: str) -> Iterator[Job]:
        if not (self.is_brief or self.is_stopped):
            yield from super().follow_job(job_id)
            return
        yield self.show_job(job_id)
        if self.is_stopped:
            raise KeyboardInterrupt


@dataclass(frozen=True, kw_only=True)
class ServiceHere(RunningService):
    """An application in this process."""

    transport: InThisProcess
    is_stopped: bool = False

    def connect(self) -> Client:
        client = Client(ORIGIN, transport=self.transport, retries=AT_ONCE)
        client.is_stopped = self.is_stopped
        return client


@contextmanager
def serving(backend: Backend, *, is_stopped: bool = False) -> Iterator[ServiceHere]:
    with start_blocking_portal() as portal:
        transport = InThisProcess(make_app(backend), portal)
        yield ServiceHere(url=ORIGIN, key="", is_beside=True, transport=transport, is_stopped=is_stopped)


class Idle:
    """A runner that runs nothing."""

    def start(self, job_id: str) -> None:
        pass

    def has(self, job_id: str) -> bool:
        return False


@pytest.fixture
def backend(deps: Deps, store: MemoryStore, tmp_path: Path) -> Iterator[Backend]:
    for number in range(3):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    runner = EmbeddedRunner(
        lambda _: deps,
        LIMITS,
        DriverOptions(batch_threads=1),
        driver=HERE,
        lock_folder=tmp_path / "locks",
        ledger=deps.ledger,
    )
    yield replace(backend_of(deps, tmp_path), runner=runner)
    runner.close()


@pytest.fixture
def service(backend: Backend) -> Iterator[ServiceHere]:
    with serving(backend) as service:
        yield service


@pytest.fixture
def client(service: ServiceHere) -> Client:
    return service.connect()


def ingest_options(**given: object) -> IngestOptions:
    plain = IngestOptions(
        source=f"s3://{BUCKET}/",
        collection=COLLECTION,
        model="",
        batch_items=0,
        include=(),
        exclude=(),
        max_failure_rate=1.0,
        restart=False,
        keep_missing=False,
        max_delete_share=None,
        retry_failed=False,
        new_generation=False,
        dry_run=False,
        as_json=True,
    )
    return replace(plain, **given)  # type: ignore[arg-type]


SEARCH = SearchOptions(
    collection=COLLECTION, k=2, min_score=None, prefix="", bucket="", metadata=(), where=""
)


# Looking


def test_a_search_answers_with_the_text_that_was_asked(
    service: ServiceHere, deps: Deps, tmp_path: Path
) -> None:
    run_batch(plan_one_batch(deps), deps, LIMITS)
    file = tmp_path / "query.png"
    file.write_bytes(distinct_png(1))
    texts = [f"s3://{BUCKET}/2.png", image_id_of(BUCKET, "0.png"), "0" * 32]
    answers = search_there(texts, SEARCH, service, None)
    assert [answer["query"] for answer in answers] == texts
    assert ["error" in answer for answer in answers] == [False, False, True]
    elsewhere = replace(service, is_beside=False)  # it cannot read this file, so it is sent
    (sent,) = search_there([str(file)], SEARCH, elsewhere, None)
    assert json.loads(json.dumps(sent))["hits"][0]["key"] == "1.png"


def test_more_queries_than_one_call_takes_are_all_answered(service: ServiceHere, deps: Deps) -> None:
    run_batch(plan_one_batch(deps), deps, LIMITS)
    texts = [image_id_of(BUCKET, f"{number % 3}.png") for number in range(205)]
    answers = search_there(texts, SEARCH, service, None)
    assert [answer["query"] for answer in answers] == texts
    assert not any("error" in answer for answer in answers)


@pytest.mark.parametrize("text", ["nope", "s3://shop/", ""])
def test_a_query_that_is_none_is_said_without_the_service(service: ServiceHere, text: str) -> None:
    with pytest.raises(ArgumentError):
        search_there([text], SEARCH, service, None)


def test_a_page_of_thumbnails_is_not_made_of_another_machines_pictures(
    service: ServiceHere, deps: Deps, tmp_path: Path
) -> None:
    run_batch(plan_one_batch(deps), deps, LIMITS)
    with pytest.raises(ArgumentError, match="--html"):
        search_there(
            [image_id_of(BUCKET, "0.png")], SEARCH, replace(service, is_beside=False), tmp_path / "page.html"
        )


def test_jobs_look_the_same_from_both_sides(
    service: ServiceHere, client: Client, backend: Backend, ledger: SqlLedger
) -> None:
    job_id = failed_job(ledger, count=3)
    for _ in range(4):
        ledger.create_job(request_of(), driver=HERE)
    there = JobsThere(client, service)
    here = JobsHere(ledger, Settings.model_construct())
    assert list(there.list(3, of_one_image=True)) == list(here.list(3, of_one_image=True))
    assert len(list(there.list(3, of_one_image=True))) == 3
    assert list(there.failures(job_id)) == list(here.failures(job_id))
    shown_there, shown_here = there.show(job_id), here.show(job_id)
    assert {**shown_there, "bottleneck": ""} == {**shown_here, "bottleneck": ""}  # of other settings
    assert list(shown_there) == list(shown_here), "in the same order"


@pytest.mark.parametrize("name", ["show", "pause", "cancel"])
def test_a_job_that_is_not_there_is_the_same_error_from_both_sides(
    service: ServiceHere, client: Client, ledger: SqlLedger, name: str
) -> None:
    said = []
    for jobs in (JobsThere(client, service), JobsHere(ledger, Settings.model_construct())):
        with pytest.raises(NotFoundError) as missing:
            getattr(jobs, name)("none")
        said.append((str(missing.value), exit_code_of(missing.value.code)))
    assert said[0] == said[1]


def test_collections_look_the_same_from_both_sides(service: ServiceHere, client: Client, deps: Deps) -> None:
    recall = Int8Recall(recall_at_10=0.98271, images=462)
    deps.index.create_collection("in_int8", replace(deps.embedder.spec, int8=recall))
    found = [collection.raw for collection in client.list_collections()]
    assert found == [collection_json(info) for info in deps.index.list_collections()]
    assert list(found[0]) == list(collection_json(deps.index.list_collections()[0]))
    shown = client.show_collection("in_int8")
    assert shown.int8 is not None
    assert (shown.int8.recall_at_10, shown.int8.images) == (0.9827, 462)
    assert with_int8_in_words(shown.raw)["int8"] == "recall@10 0.9827 against float32, on 462 images"
    assert all("int8" not in with_int8_in_words(one) for one in found if one["name"] != "in_int8")


# Working


def test_an_ingest_runs_in_the_service_and_prints_its_counts(
    service: ServiceHere, capsys: Output, ledger: SqlLedger
) -> None:
    ingest_there(ingest_options(), service)
    counts = json.loads(capsys.readouterr().out)
    assert (counts["scanned"], counts["indexed"], counts["refused"]) == (3, 3, "")
    assert ledger.get_job(counts["job_id"]).state is JobState.COMPLETED


def test_a_new_collection_has_the_notice_of_its_model_once(
    service: ServiceHere, client: Client, capsys: Output
) -> None:
    said = []
    for _ in range(2):
        ingest_there(ingest_options(collection="fresh"), service)
        said.append("Using the builtin model" in capsys.readouterr().err)
    assert said == [client.show_collection("fresh").model == "builtin", False]


def test_too_many_failures_have_the_same_exit_code(service: ServiceHere, store: MemoryStore) -> None:
    store.put(BUCKET, "bad.png", b"no picture")
    with pytest.raises(typer.Exit) as ended:
        ingest_there(ingest_options(max_failure_rate=0.1), service)
    assert ended.value.exit_code == EXIT_UNFINISHED


def test_ctrl_c_pauses_this_job_and_no_other(backend: Backend, ledger: SqlLedger, capsys: Output) -> None:
    other = ledger.create_job(request_of(prefix="other"), driver=HERE).job_id
    idle = replace(backend, runner=Idle())
    with serving(idle, is_stopped=True) as service, pytest.raises(typer.Exit) as ended:
        ingest_there(ingest_options(), service)
    assert ended.value.exit_code == EXIT_INTERRUPTED
    out, err = capsys.readouterr()
    mine = json.loads(out)["job_id"]
    assert f"pictor jobs resume {mine}" in err
    assert (ledger.get_job(mine).state, ledger.get_job(other).state) == (JobState.PAUSED, JobState.RUNNING)


def test_ctrl_c_leaves_a_job_alone_that_was_there_before(
    backend: Backend, ledger: SqlLedger, capsys: Output
) -> None:
    idle = replace(backend, runner=Idle())
    with serving(idle, is_stopped=True) as service:
        before = service.connect().submit_job(f"s3://{BUCKET}/", collection=COLLECTION)
        with pytest.raises(typer.Exit) as ended:
            ingest_there(ingest_options(), service)
    assert ended.value.exit_code == EXIT_INTERRUPTED
    out, err = capsys.readouterr()
    assert json.loads(out)["job_id"] == before.job_id
    assert f"Resuming job {before.job_id}" in err
    assert f"pictor jobs pause {before.job_id}" in err
    assert ledger.get_job(before.job_id).state is JobState.RUNNING


def test_a_restart_cancels_the_unfinished_job(
    service: ServiceHere, ledger: SqlLedger, backend: Backend
) -> None:
    with serving(replace(backend, runner=Idle())) as idle:
        first = idle.connect().submit_job(f"s3://{BUCKET}/", collection=COLLECTION)
    ingest_there(ingest_options(restart=True), service)
    assert ledger.get_job(first.job_id).state is JobState.CANCELLED
    assert [job.state for job in ledger.list_jobs(limit=1)] == [JobState.COMPLETED]


@pytest.mark.parametrize("state", [JobState.PAUSED, JobState.CANCELLED])
def test_a_job_that_somebody_stopped_is_said(
    service: ServiceHere, client: Client, ledger: SqlLedger, capsys: Output, state: JobState
) -> None:
    job_id = ledger.create_job(request_of(), driver=HERE).job_id
    client.is_brief = True
    ledger.set_state(job_id, state)
    with pytest.raises(PictorError, match=f"job {job_id} is {state}"):
        follow_to_end(client.show_job(job_id), client, as_json=True)
    assert json.loads(capsys.readouterr().out)["job_id"] == job_id


def test_a_job_that_failed_says_why(
    service: ServiceHere, client: Client, ledger: SqlLedger, capsys: Output
) -> None:
    job_id = ledger.create_job(request_of(), driver=HERE).job_id
    ledger.set_state(job_id, JobState.FAILED, error="bucket shop is gone")
    with pytest.raises(typer.Exit) as ended:
        follow_to_end(client.show_job(job_id), client, as_json=True)
    assert ended.value.exit_code == EXIT_UNFINISHED
    assert "error: bucket shop is gone" in capsys.readouterr().err


@pytest.mark.parametrize("given", [{"dry_run": True}, {"new_generation": True}])
def test_what_the_service_cannot_do_is_refused(service: ServiceHere, given: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match="cannot be given to the service"):
        ingest_there(ingest_options(**given), service)
