"""The client for asyncio and trio."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx2

from pipeline.client import (
    audit_operations,
    collection_operations,
    face_operations,
    image_operations,
    job_operations,
    key_operations,
    person_operations,
    policy_operations,
    search_operations,
    verification_operations,
)
from pipeline.client.calls import Call, Pages
from pipeline.client.connection import Attempts, connect_to
from pipeline.client.events import Following
from pipeline.client.methods import show_as_method
from pipeline.client.results import Job
from pipeline.client.retries import Retries

P = ParamSpec("P")
T = TypeVar("T")


def _sent(build: Callable[P, Call[T]]) -> Callable[Concatenate["AsyncPictor", P], Awaitable[T]]:
    """A method that sends the request which `build` makes of its arguments."""

    @wraps(build)
    async def method(self: "AsyncPictor", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(build(*args, **kwargs))

    show_as_method(method, build, Awaitable)
    return method


def _paged(build: Callable[P, Pages[T]]) -> Callable[Concatenate["AsyncPictor", P], AsyncIterator[T]]:
    """A method that gives one entry after another, and asks for the next page when it is needed."""

    @wraps(build)
    async def method(self: "AsyncPictor", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        pages, token = build(*args, **kwargs), ""
        while True:
            page = await self.send(pages.call(token))
            for item in page.items:
                yield item
            token = page.next_token
            if not token:
                return

    show_as_method(method, build, AsyncIterator)
    return method


async def _sleep(seconds: float) -> None:
    import anyio  # with the first pause: it would cost the waiting client a third of its start

    await anyio.sleep(seconds)


class AsyncPictor:
    """One service, with the methods, arguments and errors of `Pictor`. Safe to share between tasks.

    async with AsyncPictor("http://127.0.0.1:8780") as pictor:
        found = await pictor.search(Path("query.jpg"), k=5)
        async for job in pictor.list_jobs(): ...
    """

    def __init__(
        self,
        url: str = "",
        *,
        key: str = "",
        timeout_s: float = 30.0,
        retries: Retries | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Args: `url` and `key` are PICTOR_API and PICTOR_API_KEY by default. `transport` is for tests."""
        self._connection = connect_to(url, key, timeout_s, retries)
        self._client = httpx2.AsyncClient(**self._connection.options(), transport=transport)

    def __repr__(self) -> str:
        return f"AsyncPictor({self._connection.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._client.aclose()

    search = _sent(search_operations.search)
    search_batch = _sent(search_operations.search_batch)
    list_collections = _sent(collection_operations.list_collections)
    show_collection = _sent(collection_operations.show_collection)
    list_generations = _sent(collection_operations.list_generations)
    create_collection = _sent(collection_operations.create_collection)
    drop_collection = _sent(collection_operations.drop_collection)
    submit_job = _sent(job_operations.submit_job)
    estimate_job = _sent(job_operations.estimate_job)
    list_jobs = _paged(job_operations.list_jobs)
    show_job = _sent(job_operations.show_job)
    job_failures = _paged(job_operations.job_failures)
    pause_job = _sent(job_operations.pause_job)
    cancel_job = _sent(job_operations.cancel_job)
    resume_job = _sent(job_operations.resume_job)
    retry_job = _sent(job_operations.retry_job)
    index_object = _sent(image_operations.index_object)
    index_picture = _sent(image_operations.index_picture)
    show_image = _sent(image_operations.show_image)
    thumbnail = _sent(image_operations.thumbnail)
    remove_image = _sent(image_operations.remove_image)
    find_duplicates = _sent(search_operations.find_duplicates)
    search_audit = _paged(audit_operations.search_audit)
    list_verifications = _paged(verification_operations.list_verifications)
    show_verification = _sent(verification_operations.show_verification)
    probe_picture = _sent(verification_operations.probe_picture)
    decide_verification = _sent(verification_operations.decide_verification)
    show_search = _sent(verification_operations.show_search)
    embed = _sent(image_operations.embed)
    detect_faces = _sent(face_operations.detect_faces)
    compare_faces = _sent(face_operations.compare_faces)
    list_persons = _paged(person_operations.list_persons)
    create_person = _sent(person_operations.create_person)
    show_person = _sent(person_operations.show_person)
    delete_person = _sent(person_operations.delete_person)
    associate_faces = _sent(person_operations.associate_faces)
    dissociate_faces = _sent(person_operations.dissociate_faces)
    list_keys = _sent(key_operations.list_keys)
    show_key = _sent(key_operations.show_key)
    create_key = _sent(key_operations.create_key)
    rotate_key = _sent(key_operations.rotate_key)
    revoke_key = _sent(key_operations.revoke_key)
    show_policy = _sent(policy_operations.show_policy)
    list_policies = _sent(policy_operations.list_policies)
    set_policy = _sent(policy_operations.set_policy)
    approve_policy = _sent(policy_operations.approve_policy)
    refuse_policy = _sent(policy_operations.refuse_policy)
    decide_case = _sent(policy_operations.decide_case)
    audit_report = _sent(audit_operations.audit_report)
    audit_review = _sent(audit_operations.audit_review)

    async def follow_job(self, job_id: str) -> AsyncIterator[Job]:
        """The job as it is, and again each time that it has changed, until it is over.

        Raises:
            NotFoundError: there is no such job.
        """
        following = Following(job_id=job_id, connection=self._connection)
        while not following.is_over:
            try:
                async with self._client.stream(**following.request()) as answer:
                    if answer.is_success:
                        async for event in httpx2.EventSource(answer):
                            yield following.job_of(event)
                    else:
                        await answer.aread()
                wait_s = following.wait_s(answer)
            except httpx2.HTTPError as err:
                wait_s = following.wait_s(err)
            await _sleep(wait_s)

    async def send(self, call: Call[T]) -> T:
        """Send a request that an operation has made, as often as it may be sent."""
        attempts = Attempts(connection=self._connection, call=call)
        while True:
            try:
                answer = await self._client.send(self._connection.request(call, self._client))
            except httpx2.HTTPError as err:
                wait_s = attempts.after_error(err)
            else:
                later_s = attempts.after_answer(answer)
                if later_s is None:
                    return call.read(answer.content)
                wait_s = later_s
            await _sleep(wait_s)
