"""The workers at the other end of a broker: submit to them, follow a job until it ends, wake its planner."""

import time
from collections.abc import Callable, Mapping, Sequence

from pipeline.cli.outcome import done_of, settle
from pipeline.cli.output import note
from pipeline.cli.progress import JobProgress, ProgressState
from pipeline.errors import ArgumentError, TransientError
from pipeline.location import Location
from pipeline.names import check_collection_name
from pipeline.ports import WatchedLedger
from pipeline.settings import Settings
from pipeline.types import JobState

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
        TransientError: the broker did not take the job, or did not confirm it. The message says which.
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
    settle(
        job_id,
        state,
        seconds=time.perf_counter() - started,
        done=done_of(state.counts),
        as_json=as_json,
        max_failure_rate=max_failure_rate,
    )


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
    return ProgressState.of_fields(answer) if "state" in answer else None
