"""The metrics of workers, with every name, label, bucket and meaning.

Seconds and bytes; no key, file name or job id is a label, so that the number of series is fixed. Counters
follow the ledger, which is the account: a process that is killed between its report and its count has
reported all the same. They add up over processes in workers/metrics/exporter.py.
"""

import platform
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from pipeline.ingest.handle import Handled
from pipeline.types import BatchReport, Findings, ModelSpec, Reason, Verdict
from workers.broker.queue_names import EMBED, PREPARE, ROLES

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

# A stage of a batch: 10 ms is a lookup, 600 s is when a batch is split for taking too long.
_BATCH_BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 600)
# From an idle system to a backlog of hours.
_WAIT_BUCKETS_S = (0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400)
_SEARCH_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5, 10)

OUTCOMES = ("indexed", "unchanged", "failed")  # of an image; `failed` = the sum over reasons
DOOR = "task"  # how a search came here
ANSWERS = ("answered", "refused")  # of a search. If it is refused, the answer says why


class Metrics:
    """The metrics of one process. Made once per process by `metrics()`.

    Gauges are "live": those of a process that is gone count no more. Counters and histograms stay.
    """

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        # Imported here: the library looks at its environment once, when it is imported, and whoever embeds
        # Pictor or only submits work need not have it.
        from prometheus_client import Counter, Gauge, Histogram

        self._batches = Counter(
            "pictor_batches_total",
            "Batch messages that were handled, by what was to become of them",
            ["queue", "verdict"],
            registry=registry,
        )
        self._batch_seconds = Histogram(
            "pictor_batch_seconds",
            "Time from taking a batch message to its verdict",
            ["queue"],
            registry=registry,
            buckets=_BATCH_BUCKETS_S,
        )
        self._stage_seconds = Histogram(
            "pictor_stage_seconds",
            "Time of one batch in one stage; fetch and decode are summed over threads",
            ["stage"],
            registry=registry,
            buckets=_BATCH_BUCKETS_S,
        )
        self._device_seconds = Counter(
            "pictor_device_busy_seconds_total",
            "Time that batches held the device; divided by children, its rate is their busy share",
            registry=registry,
        )
        self._fetched_bytes = Counter(
            "pictor_fetched_bytes_total", "Bytes of objects and of staged blocks fetched", registry=registry
        )
        self._images = Counter(
            "pictor_images_total",
            "Images in reported batches, and those that a planner settled itself, by outcome",
            ["outcome"],
            registry=registry,
        )
        self._removed = Counter(
            "pictor_images_removed_total",
            "Images taken out of the index because they are in their source no more",
            registry=registry,
        )
        self._faces = Counter(
            "pictor_faces_total", "Faces of the images in reported batches", registry=registry
        )
        self._without_faces = Counter(
            "pictor_images_without_faces_total",
            "Images in reported batches of a model of faces that show none",
            registry=registry,
        )
        self._failures = Counter(
            "pictor_image_failures_total", "Images that failed, by reason", ["reason"], registry=registry
        )
        self._crashes = Counter(
            "pictor_task_faults_total",
            "Tasks that ended with an error that nobody foresaw, and are tried again",
            ["queue"],
            registry=registry,
        )
        self._queue_wait = Histogram(
            "pictor_queue_wait_seconds",
            "Time from when a message was due until its task began",
            ["queue"],
            registry=registry,
            buckets=_WAIT_BUCKETS_S,
        )
        self._searches = Counter(
            "pictor_searches_total",
            "Searches, by kind of answer; the service counts its own, with its doors",
            ["answer", "door"],
            registry=registry,
        )
        self._search_seconds = Histogram(
            "pictor_search_seconds",
            "Time of one search in the worker, from arguments to answer",
            registry=registry,
            buckets=_SEARCH_BUCKETS_S,
        )
        self._build = Gauge(
            "pictor_build_info",
            "1; what runs here",
            ["version", "python", "torch"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._model = Gauge(
            "pictor_model_info",
            "1; the model, the first 8 digits of its fingerprint, the device that holds it or none",
            ["model", "fingerprint", "device"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._up = Gauge(
            "pictor_worker_up",
            "1; the queues that this worker takes messages from",
            ["queues"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._children = Gauge(
            "pictor_worker_children",
            "Child processes that are warm and alive",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._children_wanted = Gauge(
            "pictor_worker_children_wanted",
            "Child processes that this worker was told to have",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._jobs_running = Gauge(
            "pictor_jobs_running",
            "Jobs of the workers in the state running, as a plan worker last saw them",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._oldest_progress = Gauge(
            "pictor_jobs_oldest_progress_timestamp_seconds",
            "When the job of the workers that has stood still for longest last moved; 0 when none runs",
            registry=registry,
            multiprocess_mode="livemax",
        )

    # The main process

    def record_worker(self, queues: str, children: int) -> None:
        self._up.labels(queues).set(1)
        self._children_wanted.set(children)
        self._build.labels(version("pictor"), platform.python_version(), version("torch")).set(1)

    def record_jobs(self, running: int, oldest_progress_s: float) -> None:
        """Args: `oldest_progress_s` is a time since 1970, or 0."""
        self._jobs_running.set(running)
        self._oldest_progress.set(oldest_progress_s)

    # The children

    def record_warm(self, spec: ModelSpec, device: str) -> None:
        """This child is ready for work. Makes every counter with a closed set of labels begin at 0: the rate
        of a series that begins with its first event does not show that event.
        """
        self._children.set(1)
        self._model.labels(spec.name, spec.fingerprint[:8], device).set(1)
        for outcome in OUTCOMES:
            self._images.labels(outcome)
        for reason in Reason:
            self._failures.labels(reason.value)
        for queue in ROLES:
            self._crashes.labels(queue)
        for queue in (PREPARE, EMBED):
            for verdict in Verdict:
                self._batches.labels(queue, verdict.value)
        for answer in ANSWERS:
            self._searches.labels(answer, DOOR)

    def record_batch(self, queue: str, handled: Handled, *, seconds: float) -> None:
        self._batches.labels(queue, handled.verdict.value).inc()
        self._batch_seconds.labels(queue).observe(seconds)
        self.record_work(handled)

    def record_work(self, handled: Handled) -> None:
        """The time spent, whatever the outcome, and the images of a report that is in the ledger."""
        for stage, seconds in handled.seconds.items():
            self._stage_seconds.labels(stage).observe(seconds)
        self._device_seconds.inc(handled.seconds.get("device", 0.0))
        self._fetched_bytes.inc(handled.fetched_bytes)
        if handled.report is not None:
            self._record_report(handled.report)

    def _record_report(self, report: BatchReport) -> None:
        self._images.labels("indexed").inc(report.indexed)
        self._images.labels("unchanged").inc(report.unchanged)
        self._images.labels("failed").inc(len(report.rejected))
        self._faces.inc(report.faces)
        self._without_faces.inc(report.without_faces)
        for rejected in report.rejected:
            self._failures.labels(rejected.reason.value).inc()

    def record_findings(self, findings: Findings) -> None:
        """Objects that a planner settled without a batch."""
        self._images.labels("unchanged").inc(findings.unchanged)
        self._images.labels("failed").inc(len(findings.known))
        for rejected in findings.known:
            self._failures.labels(rejected.reason.value).inc()

    def record_removal(self, images: int) -> None:
        self._removed.inc(images)

    def record_crash(self, queue: str) -> None:
        self._crashes.labels(queue).inc()

    def record_queue_wait(self, queue: str, seconds: float) -> None:
        self._queue_wait.labels(queue).observe(seconds)

    def record_search(self, seconds: float, *, failed: bool) -> None:
        self._searches.labels("refused" if failed else "answered", DOOR).inc()
        self._search_seconds.observe(seconds)


@cache
def metrics() -> Metrics:
    """This process's. First called after `workers.metrics.exporter` has said where processes meet."""
    return Metrics()
