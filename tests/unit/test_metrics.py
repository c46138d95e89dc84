"""What a worker counts of its batches, searches and jobs."""

import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import TransientError
from pipeline.ingest.handle import Handled, handle_embed, handle_prepare
from pipeline.ingest.message import encode_batch
from pipeline.ports import Deps
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import EmbedBatch, FailedAt, Findings, Reason, Rejected, Verdict
from tests.conftest import REPOSITORY
from tests.unit.fakes import (
    BLUE,
    BUCKET,
    CONCURRENCY,
    GREEN,
    LIMITS,
    SPEC,
    FakeEmbedder,
    jpeg,
    plan_one_batch,
    ref_of,
)
from workers.broker.queue_names import EMBED, PREPARE
from workers.metrics.metrics import ANSWERS, OUTCOMES, Metrics

STAGING = "staging"
GOOD, BAD = {"a.jpg": jpeg(BLUE), "b.jpg": jpeg(GREEN)}, {"c.jpg": b"no picture, but a text of some length"}


class Page:
    """What a scrape would show."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    def stages(self) -> set[str]:
        return {
            sample.labels["stage"]
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "pictor_stage_seconds_count" and sample.value
        }


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(BUCKET, STAGING)
    for key, body in (GOOD | BAD).items():
        store.put(BUCKET, key, body)
    return store


@pytest.fixture
def deps(store: MemoryStore, index: MemoryIndex, embedder: FakeEmbedder, ledger: SqlLedger) -> Deps:
    return Deps(
        store=store,
        index=index,
        embedder=embedder,
        ledger=ledger,
        staging_bucket=STAGING,
        concurrency=CONCURRENCY,
    )


def embed(batch: EmbedBatch, deps: Deps, page: Page) -> Handled:
    handled = handle_embed(encode_batch(batch), deps, LIMITS)
    page.metrics.record_batch(EMBED, handled, seconds=0.5)
    return handled


def test_images_are_counted_by_outcome_and_reason_as_the_ledger_counts_them(deps: Deps, page: Page) -> None:
    embed(plan_one_batch(deps), deps, page)
    again = plan_one_batch(deps, "a.jpg", "c.jpg")
    embed(again, deps, page)
    jobs = [job.counts for job in deps.ledger.list_jobs()]
    for outcome in OUTCOMES:
        expected = sum(getattr(counts, outcome) for counts in jobs)
        assert page.value("pictor_images_total", outcome=outcome) == expected > 0
    assert page.value("pictor_image_failures_total", reason="not_an_image") == 2
    assert page.value("pictor_batches_total", queue=EMBED, verdict="ack") == 2


def test_a_message_that_comes_twice_is_two_batches_and_no_image_more(deps: Deps, page: Page) -> None:
    batch = plan_one_batch(deps)
    embed(batch, deps, page)
    embed(batch, deps, page)
    assert page.value("pictor_images_total", outcome="indexed") == len(GOOD)
    assert page.value("pictor_batches_total", queue=EMBED, verdict="ack") == 2
    assert page.value("pictor_batch_seconds_count", queue=EMBED) == 2


def test_a_batch_that_is_retried_counts_its_time_and_its_bytes_and_no_image(
    deps: Deps, page: Page, embedder: FakeEmbedder
) -> None:
    embedder.fail_next(TransientError("the device is being reset"), times=9)
    assert embed(plan_one_batch(deps), deps, page).verdict is Verdict.RETRY
    assert page.value("pictor_batches_total", queue=EMBED, verdict="retry") == 1
    assert page.value("pictor_images_total", outcome="indexed") == 0
    assert {"fetch", "decode", "device"} <= page.stages()
    assert page.value("pictor_fetched_bytes_total") > 0


def test_every_stage_of_a_batch_is_measured_once(deps: Deps, page: Page) -> None:
    handled = embed(plan_one_batch(deps), deps, page)
    assert page.stages() == {"lookup", "fetch", "decode", "wait", "device", "write", "report"}
    device_s = page.value("pictor_stage_seconds_sum", stage="device")
    assert page.value("pictor_device_busy_seconds_total") == device_s == handled.seconds["device"] > 0
    assert page.value("pictor_fetched_bytes_total") == sum(len(body) for body in (GOOD | BAD).values())


def test_what_the_ledger_keeps_is_known_before_the_report_and_metrics_hold_the_report_too(
    deps: Deps,
) -> None:
    batch = plan_one_batch(deps)
    handled = handle_embed(encode_batch(batch), deps, LIMITS)
    assert handled.report is not None
    assert handled.report.seconds.keys() == handled.seconds.keys()
    assert 0 < handled.report.seconds["report"] < handled.seconds["report"]
    same = {stage: seconds for stage, seconds in handled.seconds.items() if stage != "report"}
    assert same.items() <= handled.report.seconds.items()


def test_each_tier_of_a_staged_batch_counts_what_it_did_itself(deps: Deps) -> None:
    ingest, embed_tier = Page(), Page()
    prepared = handle_prepare(encode_batch(plan_one_batch(deps)), deps, LIMITS)
    ingest.metrics.record_batch(PREPARE, prepared, seconds=0.5)
    assert ingest.stages() == {"lookup", "fetch", "decode", "wait", "put", "report"}
    assert ingest.value("pictor_images_total", outcome="indexed") == 0

    assert prepared.forward is not None
    [block] = deps.store.list_objects(STAGING)
    handled = handle_embed(encode_batch(prepared.forward), deps, LIMITS)
    embed_tier.metrics.record_batch(EMBED, handled, seconds=0.5)
    assert embed_tier.stages() == {"load", "wait", "device", "write", "report"}
    assert embed_tier.value("pictor_fetched_bytes_total") == block.size_bytes
    assert embed_tier.value("pictor_images_total", outcome="indexed") == len(GOOD)
    # The ledger has the whole of it in one row, but for what was measured after the block was packed.
    assert handled.report is not None
    assert set(handled.report.seconds) == (ingest.stages() | embed_tier.stages()) - {"put"}
    for stage in ("fetch", "decode", "lookup"):
        assert handled.report.seconds[stage] == prepared.seconds[stage]


def test_searches_waits_faults_and_jobs_are_counted(page: Page) -> None:
    page.metrics.record_search(0.02, failed=False)
    page.metrics.record_search(0.03, failed=True)
    page.metrics.record_queue_wait(EMBED, 2.0)
    page.metrics.record_crash(EMBED)
    page.metrics.record_jobs(3, 1700000000.0)
    assert [page.value("pictor_searches_total", answer=answer, door="task") for answer in ANSWERS] == [1, 1]
    assert page.value("pictor_search_seconds_sum") == 0.05
    assert page.value("pictor_queue_wait_seconds_sum", queue=EMBED) == 2.0
    assert page.value("pictor_task_faults_total", queue=EMBED) == 1
    assert page.value("pictor_jobs_running") == 3
    assert page.value("pictor_jobs_oldest_progress_timestamp_seconds") == 1700000000.0


def test_a_warm_child_shows_every_outcome_reason_and_verdict_at_zero(page: Page) -> None:
    page.metrics.record_warm(SPEC, "cpu")
    shown = {(s.name, *s.labels.values()) for family in page.registry.collect() for s in family.samples}
    assert {("pictor_images_total", outcome) for outcome in OUTCOMES} <= shown
    assert {("pictor_image_failures_total", reason.value) for reason in Reason} <= shown
    for queue in (PREPARE, EMBED):
        assert {("pictor_batches_total", queue, verdict.value) for verdict in Verdict} <= shown
    assert ("pictor_model_info", "fake", SPEC.fingerprint[:8], "cpu") in shown
    assert page.value("pictor_worker_children") == 1


def test_no_label_can_take_a_value_of_which_there_is_no_end(deps: Deps, page: Page) -> None:
    page.metrics.record_worker("embed", 2)
    page.metrics.record_warm(SPEC, "cpu")
    page.metrics.record_search(0.1, failed=False)
    page.metrics.record_queue_wait(EMBED, 0.1)
    embed(plan_one_batch(deps), deps, page)
    labels = {name for family in page.registry.collect() for s in family.samples for name in s.labels}
    of_a_process = {"version", "python", "torch", "model", "fingerprint", "device", "queues"}
    assert labels == {"queue", "verdict", "stage", "outcome", "reason", "answer", "door", "le"} | of_a_process


def test_who_embeds_pictor_or_submits_to_it_needs_no_prometheus_client() -> None:
    program = (
        "import sys; sys.modules['prometheus_client'] = None; "
        "import pipeline.cli.app, pipeline.embedded, workers.client; "
        "import workers.broker.dead_letters, workers.provision"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_planner_settles_is_counted_like_a_report_and_removals_beside_it() -> None:
    page = Page()
    known = Rejected(ref=ref_of("bad.jpg"), stage=FailedAt.DECODE, reason=Reason.TRUNCATED, detail="")
    page.metrics.record_findings(Findings(unchanged=5, known=(known,)))
    page.metrics.record_removal(3)
    assert page.value("pictor_images_total", outcome="unchanged") == 5
    assert page.value("pictor_images_total", outcome="failed") == 1
    assert page.value("pictor_image_failures_total", reason="truncated") == 1
    assert page.value("pictor_images_removed_total") == 3
