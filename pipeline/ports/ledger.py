"""The account of every job."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from pipeline.location import Location
from pipeline.ports.persons import PersonBook
from pipeline.ports.versions import NO_FINDINGS, VersionBook
from pipeline.types import (
    BatchRecord,
    BatchReport,
    Failure,
    Findings,
    Job,
    JobRequest,
    JobState,
    ObjectRef,
    Pace,
    PlanClaim,
    PlannedBatch,
    Prunable,
    Pruned,
    VersionEntry,
)

PACE_JOBS = 50  # a large job among small daily ones is found for a month or more


class Ledger(Protocol):
    """The account of every job: batches, counts, failures. Safe to share between threads."""

    def create_job(self, request: JobRequest, *, driver: str, job_id: str | None = None) -> Job:
        """A new job; or, with an id that is there already, that job as it is.

        Args:
            driver: WORKERS or `embedded_on(host)`. Nobody else plans the job or runs its batches.
        """
        ...

    def get_job(self, job_id: str) -> Job:
        """Raises NotFoundError when there is no such job."""
        ...

    def list_jobs(
        self,
        *,
        limit: int = 50,
        before: str | None = None,
        without: Sequence[str] = (),
        of: Callable[[str], bool] | None = None,
    ) -> list[Job]:
        """Newest first.

        Args:
            before: a job's id. Only jobs that are older than it.
            without: jobs whose id begins with one of these are left out.
            of: only jobs of collections whose names it takes. It is asked once for each name.
        """
        ...

    def locations(self, *, without: Sequence[str], of: Callable[[str], bool] | None = None) -> list[Location]:
        """Where jobs have looked for images, each place once and in no order. It counts nothing.

        Args:
            without, of: as for `list_jobs`.
        """
        ...

    def find_pace(self, fingerprint: str, *, of: Callable[[str], bool] | None = None) -> Pace | None:
        """Of the newest PACE_JOBS completed jobs of this model, that of the one that indexed most.

        None when they indexed nothing, or their batches were pruned. `of` as for `list_jobs`.
        """
        ...

    def find_unfinished(self, request: JobRequest, *, driver: str) -> Job | None:
        """The newest running job of the same source, filters, collection and model, of this driver.

        An embedded job whose host was not noted is any host's.
        """
        ...

    def take_up(self, job_id: str, driver: str) -> bool:
        """Become the driver of a job that is this driver's, or of an embedded one whose host was not noted.

        Returns:
            False, and nothing is written, when it is another driver's.
        """
        ...

    def set_state(self, job_id: str, state: JobState, *, error: str = "") -> bool:
        """Move a job, if it is in a state that `COMES_FROM` allows when it is written. Safe to run twice.

        Returns:
            False, and nothing is written, when it is in another state.

        Raises:
            NotFoundError: there is no such job.
        """
        ...

    @property
    def book(self) -> "VersionBook":
        """In the same database: reports and plans write into it within their own transactions."""
        ...

    @property
    def persons(self) -> PersonBook:
        """In the same database. Who takes images out of a collection takes their faces from its persons."""
        ...

    def record_plan(
        self,
        job_id: str,
        batches: Sequence[PlannedBatch],
        *,
        after: str | None = None,
        cursor: str,
        ignored: int,
        findings: Findings = NO_FINDINGS,
    ) -> bool:
        """Batch rows, the cursor and the planner's own findings, in one transaction.

        Args:
            after: the cursor behind which the planner has listed. None from the beginning.
            cursor: the last key it has dealt with. A job's cursor moves on in byte order, and never back.
            ignored: how many objects were ignored since the previous call.
            findings: since the previous call. What is unchanged or known to fail counts from here on. What is
                missing is marked in the book, and the job cannot end before `finish_removals`.

        Returns:
            False, and nothing is written, when the job is not running any more, or its cursor is not `after`
            since another planner has moved it on.
        """
        ...

    def plan_again(self, job_id: str, batches: Sequence[PlannedBatch], refs: Sequence[ObjectRef]) -> bool:
        """More batches of a job, however far its listing is, for objects that have to be done once more.

        Returns:
            False, and nothing is written, when the job is not running any more.
        """
        ...

    def finish_planning(self, job_id: str, *, ignored: int) -> None: ...

    def missing(self, job_id: str, *, limit: int) -> list[VersionEntry]:
        """Objects that the job's listing did not show and nobody has written or seen since, in no order."""
        ...

    def begin_removal(self, job_id: str, image_ids: Sequence[str]) -> int:
        """Make every older batch late for what the job has still to remove, before the store is asked.

        `Job.removing` names them until `forget_removing`: whoever goes on after a crash looks at them again.

        Returns:
            The sequence of the removal.
        """
        ...

    def record_removal(self, job_id: str, image_ids: Sequence[str], sequence: int) -> None:
        """Take objects out of the book, after their rows left the index. They count as removed.

        What has another sequence by now is left alone. Safe to run twice.
        """
        ...

    def forget_removing(self, job_id: str) -> None:
        """Nothing is in doubt any more."""
        ...

    def note_present(self, job_id: str, image_ids: Sequence[str]) -> None:
        """The listing did not show these objects, but they are there: they are not missing any more."""
        ...

    def finish_removals(self, job_id: str, *, error: str = "") -> None:
        """Nothing is left to remove, or nothing may be removed, as `error` says: the job may end."""
        ...

    def set_sync(self, job_id: str, request: JobRequest) -> None:
        """Go on with the `JobRequest.sync` of another request."""
        ...

    def pending(self, job_id: str) -> Iterator[PlannedBatch]:
        """Batches without a report, by path."""
        ...

    def outstanding(self, job_id: str) -> int:
        """How many batches have no report."""
        ...

    def find_batch(self, job_id: str, path: str) -> BatchRecord:
        """Asked before the work of a message begins: it may come twice, and anybody may have written it."""
        ...

    def report(self, report: BatchReport) -> bool:
        """Counts, failures and book entries of one batch in one transaction, keyed by (job, path).

        Returns:
            False, and nothing is written, when the batch was reported before.

        Raises:
            ConflictError: an object was claimed since. Nothing is written.
        """
        ...

    def split_batch(self, job_id: str, path: str, halves: Sequence[PlannedBatch]) -> bool:
        """Put two batches in the place of one. Returns False when it was split or reported before."""
        ...

    def unpublished(self, job_id: str, limit: int) -> list[PlannedBatch]:
        """Pending batches that no queue has taken yet, by path: the outbox of the distributed way."""
        ...

    def mark_published(self, job_id: str, paths: Sequence[str]) -> None:
        """Safe to run twice."""
        ...

    def forget_published(self, job_id: str) -> None:
        """Publish every pending batch again: after a queue was purged, or a broker's disk was lost."""
        ...

    def claim_step(self, job_id: str, step: int, nonce: str) -> bool:
        """Make one planner message the only one at work on a job of the workers.

        Returns:
            False when another message of this step, or a later step, has begun; when the step before it has
            not; and for a job that the workers do not drive.
        """
        ...

    def count_failed_step(self, job_id: str, step: int, nonce: str) -> int:
        """Note that a try of the step at work has ended badly.

        Args:
            nonce: without the character "+".

        Returns:
            How often that has happened to this step. 0 when another step, or none, is at work.
        """
        ...

    def seconds(self, job_id: str) -> Mapping[str, float]:
        """Time by stage, summed over the job's reports."""
        ...

    def failures(self, job_id: str, *, start_after: str = "") -> Iterator[Failure]:
        """By key, in byte order.

        Args:
            start_after: a key. Only failures of keys behind it.
        """
        ...

    def find_failure(self, job_id: str, image_id: str) -> Failure | None: ...

    def retry_failures(self, job_id: str, batches: Sequence[PlannedBatch], image_ids: Sequence[str]) -> None:
        """Turn failures into pending batches: one transaction, `scanned` unchanged, the job runs again.

        Raises:
            ConflictError: they are not the job's failures any more, or its state is not in `RETRIED_FROM`;
                nothing is written.
        """
        ...

    def finish_if_done(self, job_id: str) -> bool:
        """Complete a running job whose listing is at its end and whose every batch is reported.

        Returns:
            True when the job is complete, by this call or an earlier one.
        """
        ...


class WatchedLedger(Ledger, Protocol):
    """A ledger that processes share, so that one may look after the jobs of another that died."""

    def running_looks(self) -> dict[str, tuple[datetime, int]]:
        """Of each running job of the workers something that changes whenever it moves. Cheap at any size."""
        ...

    def plan_claims(self) -> dict[str, PlanClaim]:
        """Who plans each running job of the workers. A planner that is alive renews its claim."""
        ...


class PrunedLedger(Ledger, Protocol):
    """A ledger that does not grow for ever."""

    def find_prunable(self, older_than: timedelta) -> list[Prunable]:
        """Jobs that ended so long ago, by the database's clock, and have details left that nobody needs."""
        ...

    def count_prunable(self, found: Prunable) -> Pruned:
        """How much pruning it would delete."""
        ...

    def prune_page(self, found: Prunable) -> Pruned:
        """Delete a page of it. The counts of the job stay the same.

        Returns:
            How much this call deleted: nothing when nothing is left, or when the job runs again.
        """
        ...
