"""The workers at the other end of a broker: submit to them, follow a job until it ends, wake its planner."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from pipeline.cli.outcome import check_failure_rate, done_of, fail_if_refused, print_counts
from pipeline.cli.output import note
from pipeline.cli.progress import JobProgress, ProgressState
from pipeline.errors import ArgumentError, PictorError, TransientError
from pipeline.location import Location
from pipeline.names import check_collection_name
from pipeline.ports import WatchedLedger
from pipeline.settings import Settings
from pipeline.types import JobCounts, JobState

POLL_S = 1.0
TAKEN_UP_LATER = (
    "a plan worker takes the job up within a minute or two"  # workers.planning.watch.StalledWatch
)
START_TIMEOUT_S = 60.0  # how long no worker may answer before the user hears of it


def ingest_remotely(
    broker: str,
    source: Location,
    *,
    collection: str | None,
    include: Sequence[str],
    exclude: Sequence[str],
    batch_items: int | None,
    max_failure_rate: float,
    as_json: bool,
    keep_missing: bool = False,
    max_delete_share: float | None = None,
    retry_failed: bool = False,
    generation: str | None = None,
) -> None:
    """Ctrl-C stops following, not the job.

    Raises:
        ArgumentError: a folder was given, which workers cannot see; or the workers refused the job.
        TransientError: the broker did not take the job, or did not confirm it; the message says which.
    """
    from workers.client import PictorClient

    if not source.url.startswith("s3://"):
        raise ArgumentError(
            f"{source.url}: workers elsewhere cannot read a folder; give s3://bucket/prefix, or --local to "
            "run the job in this process"
        )
    if collection is not None:
        check_collection_name(collection)
    with PictorClient(broker) as client:
        job_id = client.ingest(
            source.url,
            collection=collection,
            include=include,
            exclude=exclude,
            batch_items=batch_items,
            keep_missing=keep_missing,
            max_delete_share=max_delete_share,
            retry_failed=retry_failed,
            generation=generation,
        )
        note(f"submitted job {job_id}; `pictor jobs show {job_id}` follows it too")
        started = time.perf_counter()
        state = _follow(client.job, job_id)
    seconds = time.perf_counter() - started
    refused = state.error if state.state is JobState.COMPLETED else ""
    print_counts(job_id, state.counts, seconds, done_of(state.counts), as_json=as_json, refused=refused)
    if state.state is not JobState.COMPLETED:
        raise PictorError(f"job {job_id} is {state.state}: {state.error}")
    fail_if_refused(state.error)
    check_failure_rate(state.counts, max_failure_rate)


def wake_planner(job_id: str, ledger: WatchedLedger, settings: Settings) -> None:
    """Have the workers go on with a job of theirs at once. They look for such jobs themselves, too."""
    if not settings.broker_url.get_secret_value():
        note(f"PICTOR_BROKER_URL is not set; {TAKEN_UP_LATER}")
        return
    from workers.broker.celery_app import make_app
    from workers.broker.publish import Publisher
    from workers.planning.planner import wake_planner as wake

    try:
        wake(job_id, ledger, Publisher(make_app(settings), preparation=settings.preparation))
    except TransientError as err:
        note(f"{err}; {TAKEN_UP_LATER}")


def _follow(ask: Callable[[str], Mapping[str, object]], job_id: str) -> ProgressState:
    last_news = time.monotonic()
    with JobProgress() as progress:
        while True:
            try:
                state = _read(ask(job_id))
            except TransientError as err:
                state = None
                if time.monotonic() - last_news > START_TIMEOUT_S:
                    raise TransientError(f"{err}; job {job_id} stays queued and will be done") from err
            if state is not None:
                last_news = time.monotonic()
                progress.show(state)
                if state.state not in (JobState.RUNNING, JobState.PAUSED):
                    return state
            time.sleep(POLL_S)


def _read(answer: Mapping[str, object]) -> ProgressState | None:
    """None while no worker has made the job yet."""
    if "state" not in answer:
        return None
    names = ("scanned", "indexed", "unchanged", "failed", "pending", "ignored", "removed")
    return ProgressState(
        state=JobState(str(answer["state"])),
        planned=bool(answer["planned"]),
        counts=JobCounts(**{name: cast("int", answer.get(name, 0)) for name in names}),
        error=str(answer["error"]),
    )
