"""The ledger as one caller sees it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.errors import ConflictError, NotFoundError
from pipeline.ingest.message import decode_batch, encode_batch
from pipeline.location import Location
from pipeline.names import shown
from pipeline.ports import NO_FINDINGS, Ledger
from pipeline.service.confined.book import ConfinedBook
from pipeline.service.confined.persons import ConfinedPersons
from pipeline.service.confined.scope import Scope
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
    PlannedBatch,
    VersionEntry,
)


class ConfinedLedger:
    """Implements `ports.Ledger`. A job that fills another collection than the caller's does not exist here.

    Every method with a job's id also raises NotFoundError, and DeniedError where a collection is named.
    """

    def __init__(self, ledger: Ledger, scope: Scope) -> None:
        self._ledger = ledger
        self._scope = scope
        self._book = ConfinedBook(ledger.book, scope)
        self._persons = ConfinedPersons(ledger.persons, scope)

    @property
    def book(self) -> ConfinedBook:
        return self._book

    @property
    def persons(self) -> ConfinedPersons:
        return self._persons

    def create_job(self, request: JobRequest, *, driver: str, job_id: str | None = None) -> Job:
        """Also raises ConflictError: the id is that of somebody else's job."""
        made = self._ledger.create_job(self._scope.stored_request(request), driver=driver, job_id=job_id)
        job = self._scope.seen_job(made)
        if job is None:
            raise ConflictError(f"job id {shown(made.job_id)} cannot be used; choose another one")
        return job

    def get_job(self, job_id: str) -> Job:
        with self._scope.words():
            job = self._scope.seen_job(self._ledger.get_job(job_id))
        if job is None:
            # As the ledger says it of a job that is not there: nobody learns which ids others have.
            raise NotFoundError(
                f"no job {job_id!r} in this ledger; `pictor jobs list` shows those that there are"
            )
        return job

    def list_jobs(
        self,
        *,
        limit: int = 50,
        before: str | None = None,
        without: Sequence[str] = (),
        of: Callable[[str], bool] | None = None,
    ) -> list[Job]:
        own = self._of_caller(of)
        jobs = self._ledger.list_jobs(limit=limit, before=before, without=without, of=own)
        return [seen for job in jobs if (seen := self._scope.seen_job(job)) is not None]

    def locations(self, *, without: Sequence[str], of: Callable[[str], bool] | None = None) -> list[Location]:
        return self._ledger.locations(without=without, of=self._of_caller(of))

    def find_pace(self, fingerprint: str, *, of: Callable[[str], bool] | None = None) -> Pace | None:
        return self._ledger.find_pace(fingerprint, of=self._of_caller(of))

    def find_unfinished(self, request: JobRequest, *, driver: str) -> Job | None:
        job = self._ledger.find_unfinished(self._scope.stored_request(request), driver=driver)
        return self._scope.seen_job(job) if job is not None else None

    def take_up(self, job_id: str, driver: str) -> bool:
        return self._ledger.take_up(self._own(job_id), driver)

    def set_state(self, job_id: str, state: JobState, *, error: str = "") -> bool:
        return self._ledger.set_state(self._own(job_id), state, error=error)

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
        return self._ledger.record_plan(
            self._own(job_id),
            self._stored(batches),
            after=after,
            cursor=cursor,
            ignored=ignored,
            findings=findings,
        )

    def plan_again(self, job_id: str, batches: Sequence[PlannedBatch], refs: Sequence[ObjectRef]) -> bool:
        return self._ledger.plan_again(self._own(job_id), self._stored(batches), refs)

    def finish_planning(self, job_id: str, *, ignored: int) -> None:
        self._ledger.finish_planning(self._own(job_id), ignored=ignored)

    def missing(self, job_id: str, *, limit: int) -> list[VersionEntry]:
        return self._ledger.missing(self._own(job_id), limit=limit)

    def begin_removal(self, job_id: str, image_ids: Sequence[str]) -> int:
        return self._ledger.begin_removal(self._own(job_id), image_ids)

    def record_removal(self, job_id: str, image_ids: Sequence[str], sequence: int) -> None:
        self._ledger.record_removal(self._own(job_id), image_ids, sequence)

    def forget_removing(self, job_id: str) -> None:
        self._ledger.forget_removing(self._own(job_id))

    def note_present(self, job_id: str, image_ids: Sequence[str]) -> None:
        self._ledger.note_present(self._own(job_id), image_ids)

    def finish_removals(self, job_id: str, *, error: str = "") -> None:
        self._ledger.finish_removals(self._own(job_id), error=error)

    def set_sync(self, job_id: str, request: JobRequest) -> None:
        self._ledger.set_sync(self._own(job_id), self._scope.stored_request(request))

    def pending(self, job_id: str) -> Iterator[PlannedBatch]:
        return map(self._seen, self._ledger.pending(self._own(job_id)))

    def outstanding(self, job_id: str) -> int:
        return self._ledger.outstanding(self._own(job_id))

    def find_batch(self, job_id: str, path: str) -> BatchRecord:
        found = self._ledger.find_batch(self._own(job_id), path)
        return replace(found, body=self._renamed(found.body, self._name)) if found.body else found

    def report(self, report: BatchReport) -> bool:
        self._own(report.job_id)
        return self._ledger.report(report)

    def split_batch(self, job_id: str, path: str, halves: Sequence[PlannedBatch]) -> bool:
        return self._ledger.split_batch(self._own(job_id), path, self._stored(halves))

    def unpublished(self, job_id: str, limit: int) -> list[PlannedBatch]:
        return [self._seen(batch) for batch in self._ledger.unpublished(self._own(job_id), limit)]

    def mark_published(self, job_id: str, paths: Sequence[str]) -> None:
        self._ledger.mark_published(self._own(job_id), paths)

    def forget_published(self, job_id: str) -> None:
        self._ledger.forget_published(self._own(job_id))

    def claim_step(self, job_id: str, step: int, nonce: str) -> bool:
        return self._ledger.claim_step(self._own(job_id), step, nonce)

    def count_failed_step(self, job_id: str, step: int, nonce: str) -> int:
        return self._ledger.count_failed_step(self._own(job_id), step, nonce)

    def seconds(self, job_id: str) -> Mapping[str, float]:
        return self._ledger.seconds(self._own(job_id))

    def failures(self, job_id: str, *, start_after: str = "") -> Iterator[Failure]:
        return self._ledger.failures(self._own(job_id), start_after=start_after)

    def find_failure(self, job_id: str, image_id: str) -> Failure | None:
        return self._ledger.find_failure(self._own(job_id), image_id)

    def retry_failures(self, job_id: str, batches: Sequence[PlannedBatch], image_ids: Sequence[str]) -> None:
        self._ledger.retry_failures(self._own(job_id), self._stored(batches), image_ids)

    def finish_if_done(self, job_id: str) -> bool:
        return self._ledger.finish_if_done(self._own(job_id))

    def _of_caller(self, of: Callable[[str], bool] | None) -> Callable[[str], bool]:
        def is_seen(stored: str) -> bool:
            name = self._scope.seen(stored)
            return name is not None and (of is None or of(name))

        return is_seen

    def _own(self, job_id: str) -> str:
        return self.get_job(job_id).job_id

    def _stored(self, batches: Sequence[PlannedBatch]) -> list[PlannedBatch]:
        """A batch says which collection it is for: its workers know stored names alone."""
        return [replace(batch, body=self._renamed(batch.body, self._scope.stored)) for batch in batches]

    def _seen(self, batch: PlannedBatch) -> PlannedBatch:
        return replace(batch, body=self._renamed(batch.body, self._name))

    def _renamed(self, body: bytes, name: Callable[[str], str]) -> bytes:
        if not self._scope.beginning:
            return body
        batch = decode_batch(body)
        return encode_batch(replace(batch, collection=name(batch.collection)))

    def _name(self, stored: str) -> str:
        return stored.removeprefix(self._scope.beginning)
