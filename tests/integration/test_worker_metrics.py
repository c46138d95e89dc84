"""Real workers, scraped: what their pages say is what the ledger says, whatever becomes of their children."""

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise

import pytest

from devstack import promtool
from pipeline.types import WORKERS, Job, JobState
from tests.chaos.pictures import picture
from tests.chaos.system import HOOK
from tests.conftest import missing
from tests.fleet import Fleet, Worker, own_place, wait_until
from tests.promql import RABBITMQ_METRICS, kept_by_prometheus, metrics_of_workers
from tests.scrape import Page, free_port, scrape
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server
from workers.client import PictorClient

BATCH_ITEMS = 16
BROKEN = {
    "cut.jpg": picture(900)[:300],
    "empty.jpg": b"",
    "text.jpg": b"no picture, but a text of some length",
}


class Monitored:
    """A small system of which every worker has a page."""

    def __init__(self, fleet: Fleet, planner_port: int, embed_port: int) -> None:
        self.fleet = fleet
        self._ports = {"planner": planner_port, "embed": embed_port}
        self.planner = self._start("planner", queues="plan,search", children=1)
        self.embed = self._start("embed", queues="embed", children=2)
        for worker in (self.planner, self.embed):
            worker.ready()

    def _start(self, name: str, *, queues: str, children: int) -> Worker:
        env = {"PICTOR_METRICS_ADDRESS": "127.0.0.1", "PICTOR_METRICS_PORT": str(self._ports[name])}
        env |= {"PICTOR_TEST_WATCH_S": "1", **HOOK}  # it looks every 15 s, and a test waits for two looks
        return self.fleet.start(queues=queues, children=children, name=name, extra_env=env)

    def page(self, name: str) -> Page:
        return scrape(f"http://127.0.0.1:{self._ports[name]}/metrics")

    def run_job(self, bucket: str, job_id: str) -> Job:
        self.fleet.submit(f"s3://{bucket}/", job_id=job_id)
        job = self.fleet.wait_for_job(job_id, JobState.COMPLETED)
        # A batch is in the ledger a moment before it is counted.
        wait_until(lambda: self.images() >= self.scanned(), "every reported image is counted")
        return job

    def images(self) -> float:
        """Embed workers count what they report, planners what they settle without a batch."""
        return sum(self.page(name).total("pictor_images_total") for name in self._ports)

    def jobs(self) -> list[Job]:
        return [job for job in self.fleet.ledger.list_jobs() if job.state is JobState.COMPLETED]

    def scanned(self) -> int:
        return sum(job.counts.scanned for job in self.jobs())


@pytest.fixture(scope="module")
def monitored(
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Monitored]:
    folder = tmp_path_factory.mktemp("monitored")
    with ExitStack() as stack:
        env = stack.enter_context(
            own_place(
                rabbitmq,
                s3_server,
                milvus_server,
                postgres,
                folder,
                PICTOR_BATCH_ITEMS=str(BATCH_ITEMS),
            )
        )
        fleet = stack.enter_context(Fleet(env, folder))
        ports = [stack.enter_context(free_port()) for _ in range(2)]
        fleet.init()
        yield Monitored(fleet, *ports)


@pytest.fixture(scope="module")
def bucket(monitored: Monitored) -> Iterator[str]:
    fleet = monitored.fleet
    name = f"{fleet.settings.collection}-photos"
    fleet.put_all(name, {f"{number:03}.jpg": picture(number) for number in range(60)} | BROKEN)
    yield name
    for ref in list(fleet.store.list_objects(name)):
        fleet.store.delete(name, ref.key)


def assert_adds_up(monitored: Monitored) -> None:
    """The pages of both workers against the ledger's account of all jobs so far."""
    page, jobs, ledger = monitored.page("embed"), monitored.jobs(), monitored.fleet.ledger
    planner = monitored.page("planner")
    for outcome in ("indexed", "unchanged", "failed"):
        expected = sum(getattr(job.counts, outcome) for job in jobs)
        counted = sum(each.total("pictor_images_total", outcome=outcome) for each in (page, planner))
        assert counted == expected, outcome
    reasons = Counter(failure.reason.value for job in jobs for failure in ledger.failures(job.job_id))
    counted_reasons = Counter(page.by("pictor_image_failures_total", "reason"))
    counted_reasons.update(planner.by("pictor_image_failures_total", "reason"))
    assert counted_reasons == reasons
    assert page.total("pictor_batches_total", queue="embed", verdict="ack") >= sum(
        job.planned_batches for job in jobs
    )
    for stage in ("lookup", "fetch", "decode", "wait", "device", "write"):
        in_ledger = sum(ledger.seconds(job.job_id).get(stage, 0.0) for job in jobs)
        measured = page.total("pictor_stage_seconds_sum", stage=stage)
        assert measured == pytest.approx(in_ledger, abs=1e-3), stage


def test_pages_add_up_with_the_ledger_before_and_after_a_child_is_killed(
    monitored: Monitored, bucket: str
) -> None:
    fleet = monitored.fleet
    job = monitored.run_job(bucket, "first")
    assert (job.counts.indexed, job.counts.failed) == (60, len(BROKEN))
    assert_adds_up(monitored)
    assert monitored.page("embed").total("pictor_worker_children") == 2
    assert monitored.page("embed").total("pictor_fetched_bytes_total") == sum(
        ref.size_bytes for ref in fleet.store.list_objects(bucket)
    )
    before = monitored.page("embed")

    victim = monitored.embed.children_pids()[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in monitored.embed.children_pids(), "the child is gone")
    after = monitored.page("embed")
    assert after.counters() == before.counters()

    wait_until(
        lambda: monitored.page("embed").total("pictor_worker_children") == 2, "another child is warm", 120
    )
    fleet.put_all(bucket, {f"{number:03}.jpg": picture(number) for number in range(60, 90)})
    job = monitored.run_job(bucket, "second")
    assert (job.counts.indexed, job.counts.unchanged) == (30, 60)
    assert_adds_up(monitored)
    later = monitored.page("embed").counters()
    assert all(later[series] >= value for series, value in after.counters().items())


def test_a_child_that_is_killed_at_work_takes_no_count_back(monitored: Monitored, bucket: str) -> None:
    fleet = monitored.fleet
    fleet.put_all(bucket, {f"{number:03}.jpg": picture(number) for number in range(200, 360)})
    before, images = monitored.page("embed"), monitored.page("embed").total("pictor_images_total")
    fleet.submit(f"s3://{bucket}/", job_id="third")
    wait_until(lambda: monitored.page("embed").total("pictor_images_total") > images, "work has begun")
    pages = [before, monitored.page("embed")]
    os.kill(monitored.embed.children_pids()[0], signal.SIGKILL)
    fleet.wait_for_job("third", JobState.COMPLETED)
    pages.append(monitored.page("embed"))
    for earlier, later in pairwise(pages):
        now = later.counters()
        assert all(now[series] >= value for series, value in earlier.counters().items())
    # The ledger is the account. A page may lack the batch that was reported by who then was killed, no more.
    assert 0 <= monitored.scanned() - monitored.images() <= BATCH_ITEMS


def test_searches_waits_models_and_jobs_are_on_the_page(monitored: Monitored, bucket: str) -> None:
    with PictorClient(monitored.fleet.env["PICTOR_BROKER_URL"]) as client:
        assert client.search(f"s3://{bucket}/001.jpg", k=3)["hits"]
        assert client.search("no query at all")["error"]
    page = monitored.page("planner")
    assert page.by("pictor_searches_total", "answer") == {"answered": 1, "refused": 1}
    assert page.total("pictor_search_seconds_count") == 2
    assert page.total("pictor_queue_wait_seconds_count", queue="search") == 2
    assert page.total("pictor_queue_wait_seconds_count", queue="plan") > 0
    assert page.total("pictor_worker_up", queues="plan,search") == 1
    embed = monitored.page("embed")
    messages = embed.total("pictor_queue_wait_seconds_count", queue="embed")
    assert messages >= embed.total("pictor_batches_total", queue="embed") > 0
    assert embed.total("pictor_model_info", model="builtin", device="cpu") == 1
    assert embed.total("pictor_build_info") == 1
    assert embed.total("pictor_worker_children_wanted") == 2


def test_a_job_that_runs_is_seen_by_the_planner(monitored: Monitored, bucket: str) -> None:
    ledger = monitored.fleet.ledger
    done = monitored.jobs()[0]
    stuck = ledger.create_job(done.request, driver=WORKERS, job_id="stuck")  # in the ledger and in no queue
    began = stuck.created_at.timestamp()

    def seen() -> tuple[float, float]:
        page = monitored.page("planner")
        return page.total("pictor_jobs_running"), page.total("pictor_jobs_oldest_progress_timestamp_seconds")

    def only_this_one_runs() -> bool:  # the planner's last look may still show the job before
        running, moved = seen()
        return running == 1 and moved >= began

    wait_until(only_this_one_runs, "the job is seen", 60)
    ledger.set_state("stuck", JobState.CANCELLED)
    wait_until(lambda: seen() == (0, 0), "no job is seen", 60)


@pytest.mark.parametrize("name", ["planner", "embed"])
def test_a_page_is_as_prometheus_wants_it(monitored: Monitored, name: str) -> None:
    absent = promtool.missing()
    if absent:
        missing(f"{absent}; run `python -m devstack install`")
    text = monitored.page(name).text
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_alerts_and_dashboard_ask_for_is_on_real_pages(
    monitored: Monitored, bucket: str, rabbitmq: RabbitMQServer
) -> None:
    monitored.run_job(bucket, "last")
    of_workers = monitored.page("planner").names() | monitored.page("embed").names()
    assert of_workers >= metrics_of_workers()
    families = ("queue_coarse_metrics", "queue_consumer_count", "channel_queue_metrics")
    query = "&".join(f"family={family}" for family in families)
    vhost, queue_of = monitored.fleet.vhost, monitored.fleet.queue

    def page() -> Page:
        return scrape(f"{rabbitmq.metrics_url}/detailed?{query}&vhost={vhost}")

    # The broker counts every few seconds.
    acks = "rabbitmq_detailed_channel_messages_acked_total"
    embed = queue_of("embed")
    wait_until(lambda: page().total(acks, vhost=vhost, queue=embed) > 0, "acknowledgements are counted")
    found = page()
    assert found.names() >= RABBITMQ_METRICS
    assert {name for name in found.names() if kept_by_prometheus().fullmatch(name)} == RABBITMQ_METRICS
    assert found.total("rabbitmq_detailed_queue_consumers", queue=embed) == 1
    for queue in ("plan", embed, "search", "dead"):
        assert queue in found.by("rabbitmq_detailed_queue_process_reductions_total", "queue")


def test_a_port_that_is_taken_is_a_fault_of_the_settings(monitored: Monitored) -> None:
    port = str(monitored._ports["embed"])
    second = monitored.fleet.pictor(
        "worker", "--queues", "embed", "--name", "second",
        extra_env={"PICTOR_METRICS_ADDRESS": "127.0.0.1", "PICTOR_METRICS_PORT": port},
    )  # fmt: skip
    assert second.returncode == 2
    assert (
        f"PICTOR_METRICS_PORT: 127.0.0.1:{port} cannot be listened on: Address already in use"
        in second.stderr
    )
