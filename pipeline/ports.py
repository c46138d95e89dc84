"""What the pipeline asks of the world. Few methods, no SDK type in a signature, one contract test each.

Every method may raise `TransientError` (the service is away: retry) and `CredentialsError` (refused).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.types import (
    BatchReport,
    BatchStatus,
    CollectionInfo,
    Failure,
    FetchedObject,
    Findings,
    IndexRow,
    Job,
    JobRequest,
    JobState,
    ModelSpec,
    ObjectRef,
    PlannedBatch,
    SearchFilter,
    SearchHit,
    VersionEntry,
)

NO_FINDINGS = Findings()
MAX_HITS = 16_000  # per query: Milvus answers 16,384, less the room that ties need

# One object's user metadata as ASCII JSON. S3 allows 2 KB; escaped threefold it still fits a Milvus field.
MAX_METADATA_BYTES = 20_000


class ObjectStore(Protocol):
    """Objects by bucket and key. Safe to share between threads."""

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        """Every object whose key begins with `prefix`, in byte order of the key, streamed in pages.

        Raises:
            TargetError: the bucket or folder does not exist, or may not be listed.
        """
        ...

    def stat(self, bucket: str, key: str) -> ObjectRef:
        """The present version of one object. Raises ImageError (not_found, access_denied)."""
        ...

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        """The bytes of exactly the version that `ref` names.

        Raises:
            ImageError: not_found, changed, access_denied, too_large (found while reading, whatever the
                listing said), or timeout after the adapter's own bounded retries.
        """
        ...

    def get_metadata(self, ref: ObjectRef) -> Mapping[str, str]:
        """The user's own metadata of exactly the version that `ref` names, without its bytes.

        Raises:
            ImageError: not_found, changed or access_denied.
        """
        ...

    def put(self, bucket: str, key: str, body: bytes) -> None: ...

    def delete(self, bucket: str, key: str) -> None:
        """Safe to run twice: an object that is not there is no error."""
        ...


class Embedder(Protocol):
    """A model on a device. Safe to share between threads: calls beyond what the device takes at once wait."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def device(self) -> str:
        """Where it computes: "cpu" or "cuda:0"; empty while its weights are not loaded."""
        ...

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed one group.

        Args:
            pixels: [N, 3, S, S], 0..255, S = `spec.preprocessing.crop`; any N >= 1.

        Returns:
            [N, D], rows of unit length; a row the model could not answer is NaN.
        """
        ...


class VectorIndex(Protocol):
    """Collections of vectors, each bound to one model. Safe to share between threads."""

    def create_collection(self, name: str, model: ModelSpec) -> CollectionInfo:
        """Make the collection unless it is there; safe to run twice and from several processes.

        Raises:
            ModelMismatchError: it is there and bound to another fingerprint; both names in the message.
        """
        ...

    def get_collection(self, name: str) -> CollectionInfo | None: ...

    def check_model(self, name: str, model: ModelSpec) -> None:
        """Asked before each batch and search, so it costs nothing once a process knows the collection.

        Raises:
            ModelMismatchError: the collection is bound to another fingerprint; both names in the message.
            TargetError: it is not there.
        """
        ...

    def list_collections(self) -> list[CollectionInfo]: ...

    def drop_collection(self, name: str) -> None: ...

    def upsert(self, name: str, rows: Sequence[IndexRow]) -> None:
        """Write rows by id. The same rows twice leave the same index."""
        ...

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Safe to run twice."""
        ...

    def get_etags(self, name: str, ids: Sequence[str], *, latest: bool = True) -> Mapping[str, str]:
        """The stored version of each id that is there.

        Args:
            latest: as of all writes that returned before this call, whoever made them. Else of those before
                the last `create_collection`, and of later ones after some seconds; it costs a fraction.
        """
        ...

    def get_rows(self, name: str, ids: Sequence[str], *, latest: bool = True) -> list[IndexRow]:
        """The rows that are there, in the order of `ids`.

        Args:
            latest: as of all writes that returned before this call, whoever made them. Else what a search
                sees, which may lag behind the writes of other processes by seconds and costs a fraction.
        """
        ...

    def list_ids(self, name: str) -> Iterator[str]: ...

    def list_versions(self, name: str, *, start_after: str = "") -> Iterator[ObjectRef]:
        """The version of each image that has rows, in order of the image id, streamed in pages.

        It sees all writes that returned before this call, whoever made them.

        Args:
            start_after: an image id; only those behind it are listed.
        """
        ...

    def search(
        self,
        name: str,
        vectors: NDArray[np.float32],
        *,
        k: int,
        where: SearchFilter | None = None,
        min_score: float | None = None,
    ) -> list[list[SearchHit]]:
        """The `k` nearest rows of each vector, best first, ties by id.

        Args:
            vectors: [Q, D], unit length.
            k: 1..MAX_HITS.
            min_score: cosine; hits below it are left out.
        """
        ...

    def settle(self, name: str) -> None:
        """After a load: flush and wait for the index, so that the first search is as fast as the next."""
        ...


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

    def list_jobs(self, *, limit: int = 50) -> list[Job]:
        """Newest first."""
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

    def set_state(self, job_id: str, state: JobState, *, error: str = "") -> None: ...

    @property
    def book(self) -> "VersionBook":
        """In the same database: reports and plans write into it within their own transactions."""
        ...

    def record_plan(
        self,
        job_id: str,
        batches: Sequence[PlannedBatch],
        *,
        cursor: str,
        ignored: int,
        findings: Findings = NO_FINDINGS,
    ) -> bool:
        """Batch rows, cursor and what the planner settled on its own, in one transaction.

        Args:
            ignored: how many objects were ignored since the previous call.
            findings: since the previous call. What is unchanged or known to fail counts from here on. What is
                missing is marked in the book, and the job cannot end before `finish_removals`.

        Returns:
            False, and nothing is written, when the job is not running any more.
        """
        ...

    def finish_planning(self, job_id: str, *, ignored: int) -> None: ...

    def missing(self, job_id: str, *, limit: int) -> list[VersionEntry]:
        """What the job's listing did not show and nobody has written or seen since, in no order."""
        ...

    def record_removal(self, job_id: str, image_ids: Sequence[str]) -> None:
        """Take objects out of the book, after their rows left the index. They count as removed."""
        ...

    def finish_removals(self, job_id: str, *, error: str = "") -> None:
        """Nothing is left to remove, or nothing may be removed, as `error` says: the job may end."""
        ...

    def set_sync(self, job_id: str, request: JobRequest) -> None:
        """Go on with the `keep_missing`, `max_delete_share` and `retry_failed` of another request."""
        ...

    def pending(self, job_id: str) -> Iterator[PlannedBatch]:
        """Batches without a report, by path."""
        ...

    def outstanding(self, job_id: str) -> int:
        """How many batches have no report."""
        ...

    def batch_status(self, job_id: str, path: str) -> BatchStatus:
        """Asked before the work of a message begins: at-least-once delivery brings some twice."""
        ...

    def report(self, report: BatchReport) -> bool:
        """Counts, failures and book entries of one batch in one transaction, keyed by (job, path).

        Returns:
            False, and nothing is written, when the batch was reported before.
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
            False when another message of this step, or a later step, has begun; and for a job that the
            workers do not drive.
        """
        ...

    def seconds(self, job_id: str) -> Mapping[str, float]:
        """Time by stage, summed over the job's reports."""
        ...

    def failures(self, job_id: str) -> Iterator[Failure]:
        """By key."""
        ...

    def retry_failures(self, job_id: str, batches: Sequence[PlannedBatch], image_ids: Sequence[str]) -> None:
        """Turn failures into pending batches: one transaction, `scanned` unchanged, the job runs again.

        Raises:
            ConflictError: they are not the job's failures any more; nothing is written.
        """
        ...

    def finish_if_done(self, job_id: str) -> bool:
        """Complete a running job whose listing is at its end and whose every batch is reported.

        Returns:
            True when the job is complete, by this call or an earlier one.
        """
        ...


class VersionBook(Protocol):
    """What is known of each object of a generation (`types.generation_of`). Safe to share between threads."""

    def list_versions(
        self, generation: str, bucket: str, prefix: str = "", *, start_after: str | None = None
    ) -> Iterator[VersionEntry]:
        """Entries whose key begins with `prefix`, in byte order of the key, streamed in pages."""
        ...

    def list_by_id(self, generation: str) -> Iterator[VersionEntry]:
        """All entries, in order of the image id, streamed in pages."""
        ...

    def write(self, generation: str, entries: Sequence[VersionEntry]) -> None:
        """Put entries in, over what is there. Safe to run twice."""
        ...

    def forget(self, generation: str, image_ids: Sequence[str]) -> None:
        """Safe to run twice."""
        ...

    def forget_generation(self, generation: str) -> None:
        """All of it: for a generation that was dropped. Its next reader fills it from the index."""
        ...

    def holds_rows(self, generation: str) -> bool:
        """Whether any object of it has rows in the index, so far as the book knows."""
        ...

    def find_copies(self, generation: str, etags: Sequence[str]) -> list[str]:
        """Of each ETag at most one image id of an indexed object that has it."""
        ...

    def filled_to(self, generation: str) -> str | None:
        """How far the filling from the index has come: an image id, "" at the start, None at the end."""
        ...

    def record_fill(self, generation: str, entries: Sequence[VersionEntry], *, filled_to: str | None) -> None:
        """Put in what the book does not have yet, and note how far that is. Safe to run twice."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Deps:
    """Everything `handle_message` needs of the world. Built by `wiring`, or by a test from fakes."""

    store: ObjectStore
    index: VectorIndex
    embedder: Embedder
    ledger: Ledger
    staging_bucket: str = ""  # where blocks of pixels wait between the CPU tier and the GPU tier


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one image and one process may take. Values come from `Settings`."""

    max_object_bytes: int = 64 * 2**20
    max_px: int = 100_000_000  # a 100-megapixel camera; scaled decoding keeps it cheap
    decode_budget_bytes: int = 224 * 2**20  # with the body and the interpreter's own swings: under 300 MB
    min_side_px: int = 4  # tracking pixels hold no picture
    fetch_threads: int = 8
    decode_threads: int = 2
    group_items: int = 32  # images per forward pass
    jpeg_device: str = ""  # `cuda:N`, where ordinary JPEGs are decoded; none: on the CPU, like all others
