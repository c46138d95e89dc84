"""A small typed client for upstream services. Needs Celery and a broker URL, no torch and no database.

    with PictorClient("amqp://user:password@rabbitmq/pictor") as pictor:
        job_id = pictor.ingest("s3://shop/products/")
        pictor.job(job_id)["state"]
        pictor.search("s3://shop/products/1.jpg", k=5)["hits"]

Any other Celery client can send the same tasks: docs/reference/tasks.md has their arguments and answers.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, cast

from amqp.exceptions import AMQPError
from celery import Celery
from celery.exceptions import TimeoutError as CeleryTimeoutError
from pydantic import SecretStr

from pipeline.errors import ArgumentError, MessageError, TransientError
from pipeline.settings import Settings
from workers.broker.celery_app import make_app
from workers.broker.connection import broker_errors
from workers.broker.publish import MAX_ARGUMENTS_BYTES, Publisher, json_bytes
from workers.submission import (
    MAX_KEYS,
    Arguments,
    DeleteArguments,
    IngestArguments,
    JobArguments,
    SearchArguments,
    read_arguments,
)

Answer = Mapping[str, object]

MAX_KEYS_BYTES = MAX_ARGUMENTS_BYTES - 2**16  # the other arguments are two names


class PictorClient:
    """Submits work and asks about it.

    Every call raises ArgumentError for arguments that workers would refuse, TransientError when the broker is
    away, and CredentialsError when it refuses the user.
    """

    def __init__(self, broker_url: str, *, ca_file: str = "") -> None:
        """Args: `ca_file` is of the authorities to trust for `amqps://…`. "" are those of this machine."""
        # Nothing of the environment: a service has settings of its own.
        settings = Settings.model_construct(broker_url=SecretStr(broker_url), broker_ca_file=ca_file)
        self._app: Celery = make_app(settings)
        self._publisher = Publisher(self._app, preparation="inline")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        close_app(self._app)

    def ingest(
        self,
        source: str,
        *,
        collection: str | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        batch_items: int | None = None,
        job_id: str | None = None,
        keep_missing: bool = False,
        max_delete_share: float | None = None,
        retry_failed: bool = False,
        generation: str | None = None,
    ) -> str:
        """Submit a job for `s3://bucket/prefix`.

        Args:
            keep_missing: leave objects in the index that are in the source no more.
            max_delete_share: 0..1; when more of the source's indexed objects are gone, none is removed.
            retry_failed: try objects again that failed and have not changed.
            generation: the beginning of a fingerprint, 8 to 64 digits, to fill another generation of the
                collection than the live one. `pictor init --new-generation` makes one.
            job_id: give your own to make a submission that is repeated one job: the first one's.

        Returns:
            The job's id. The broker has confirmed the task: it is kept, whatever happens to the workers.
        """
        submitted_id = job_id or f"job-{uuid.uuid4().hex}"
        arguments: dict[str, object] = {
            "v": 1,
            "source": source,
            "collection": collection,
            "include": list(include),
            "exclude": list(exclude),
            "batch_items": batch_items,
            "job_id": submitted_id,
            # Only when asked for: workers of the version before refuse arguments that they do not know.
            "keep_missing": keep_missing or None,
            "max_delete_share": max_delete_share,
            "retry_failed": retry_failed or None,
            "generation": generation,
        }
        self._publisher.send("pictor.ingest", _checked(IngestArguments, "pictor.ingest", arguments))
        return submitted_id

    def delete(
        self,
        bucket: str,
        keys: Sequence[str],
        *,
        collection: str | None = None,
        meant_at: datetime | None = None,
    ) -> None:
        """Take objects out of the index, in as many messages as the keys need.

        All keys are checked before the first message is sent. When this raises TransientError, some of the
        messages may be on their way: call it again with the same keys, and the moment of the first call.

        Args:
            meant_at: with a time zone. Default now, by the clock of this machine. What was planned later
                stays in the index, however late the messages are read.
        """
        moment = (meant_at or datetime.now(UTC)).timestamp()
        given = {"v": 1, "bucket": bucket, "collection": collection, "meant_at": moment}
        parts = list(_parts_of(keys))
        checked = [_checked(DeleteArguments, "pictor.delete", given | {"keys": part}) for part in parts]
        for part, arguments in zip(parts, checked, strict=True):
            self._publisher.send("pictor.delete", arguments, shown=f"{len(part)} keys of {bucket}")

    def search(
        self,
        query: str = "",
        *,
        text: Sequence[str] = (),
        unwanted: Sequence[str] = (),
        weights: Mapping[str, float] | None = None,
        k: int = 10,
        collection: str | None = None,
        min_score: float | None = None,
        bucket: str = "",
        prefix: str = "",
        metadata: Mapping[str, str] | None = None,
        where: Mapping[str, object] | None = None,
        embedding: str = "",
        purpose: str = "",
        case: str = "",
        offence: str = "",
        authorisation: str = "",
        authority: str = "",
        on_behalf_of: str = "",
        timeout_s: float = 30.0,
    ) -> Answer:
        """Search by `s3://bucket/key` or stored image id, by words, or by both.

        Args:
            text: what the images are to show. Several texts are averaged.
            unwanted: what they are not to show.
            weights: of "text", "not" and "picture".
            bucket, prefix, metadata: only objects of this bucket, with such keys, with this metadata.
            where: only images for which this condition holds, see docs/reference/filters.md.
            embedding: which embedding of each image is asked, where the collection has several. "main" is
                the first.
            purpose, case, offence, authorisation, authority: what the policy of the collection asks for, see
                docs/how-to/policies.md.
            on_behalf_of: the person on whose behalf you search.

        Returns:
            `query`, `hits` and `receipt`, the record of this search; and `error` when the query cannot be
            read.
        """
        arguments = {
            "v": 1,
            "query": query or None,
            "k": k,
            "collection": collection,
            "min_score": min_score,
            "bucket": bucket,
            "prefix": prefix,
            "metadata": dict(metadata) if metadata else None,
            "where": where,
            # Only when given: workers of the version before refuse arguments that they do not know.
            "text": list(text) or None,
            "not": list(unwanted) or None,
            "weights": dict(weights) if weights else None,
            "embedding": embedding or None,
            "purpose": purpose or None,
            "case": case or None,
            "offence": offence or None,
            "authorisation": authorisation or None,
            "authority": authority or None,
            "on_behalf_of": on_behalf_of or None,
        }
        return self._ask("pictor.search", _checked(SearchArguments, "pictor.search", arguments), timeout_s)

    def job(self, job_id: str, *, timeout_s: float = 30.0) -> Answer:
        """The state and counts of a job, with the fields of `pictor jobs show --json`; or `error`."""
        arguments = _checked(JobArguments, "pictor.job", {"v": 1, "job_id": job_id})
        return self._ask("pictor.job", arguments, timeout_s)

    def _ask(self, task: str, arguments: Mapping[str, object], timeout_s: float) -> Answer:
        result = self._publisher.send(task, arguments, patience_s=timeout_s)
        try:
            with broker_errors(f"the broker went away before {task} was answered"):
                return cast("Answer", result.get(timeout=timeout_s, disable_sync_subtasks=False))
        except CeleryTimeoutError as err:
            raise TransientError(f"no worker answered {task} within {timeout_s:g} s") from err
        finally:
            result.forget()


def close_app(app: Celery) -> None:
    """Close the connection for answers, which `app.close()` leaves open."""
    consumer = app.backend.result_consumer
    if consumer._consumer is not None:
        with suppress(AMQPError, OSError):  # the broker may have gone first
            consumer.stop()
    app.close()


def _parts_of(keys: Sequence[str]) -> Iterator[list[str]]:
    """Runs of keys, each of which fits into one message. At least one, which may be empty."""
    part: list[str] = []
    length_bytes = 0
    for key in keys:
        # The next check refuses a value that is no text.
        key_bytes = json_bytes(key) + len(", ") if isinstance(key, str) else 0
        if part and (len(part) == MAX_KEYS or length_bytes + key_bytes > MAX_KEYS_BYTES):
            yield part
            part, length_bytes = [], 0
        part.append(key)
        length_bytes += key_bytes
    yield part


def _checked(kind: type[Arguments], task: str, arguments: Mapping[str, object]) -> dict[str, object]:
    """The given arguments, after a check that a worker will read them."""
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        read_arguments(kind, task, given)
    except MessageError as err:
        raise ArgumentError(str(err)) from None
    return given
