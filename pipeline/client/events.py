"""Follow a job by server-sent events, over broken connections. Sends nothing: the clients do."""

from dataclasses import dataclass
from typing import TypedDict

import httpx2

from pipeline.client.calls import Call, read_json
from pipeline.client.connection import Attempts, Connection
from pipeline.client.requests import job_path
from pipeline.client.results import Job

SILENCE_S = 45.0  # of a stream, before it counts as broken; the service says something every 15 s


class StreamArguments(TypedDict):
    method: str
    url: str
    headers: dict[str, str]
    timeout: httpx2.Timeout


@dataclass(kw_only=True, slots=True)
class Following:
    """Each event holds the whole job, so an event that was missed is never needed."""

    job_id: str
    connection: Connection
    last_event_id: str = ""
    is_over: bool = False
    failed_attempts: int = 0  # in a row: an event that arrives ends the row

    def request(self) -> StreamArguments:
        headers = {"accept": "text/event-stream"}
        if self.last_event_id:
            headers["last-event-id"] = self.last_event_id
        timeout_s = self.connection.timeout_s
        return StreamArguments(
            method="GET",
            url=f"{job_path(self.job_id)}/events",
            headers=headers,
            timeout=httpx2.Timeout(timeout_s, read=max(SILENCE_S, timeout_s)),
        )

    def job_of(self, event: httpx2.ServerSentEvent) -> Job:
        job = Job.of(read_json(event.data.encode()))
        self.last_event_id, self.is_over, self.failed_attempts = event.id, job.is_over, 0
        return job

    def wait_s(self, ended_with: httpx2.Response | httpx2.HTTPError) -> float:
        """The pause before the stream is opened again, 0 for a job that is over.

        Raises:
            TransientError: it has been tried often enough.
            PictorError: as the service answered.
        """
        if self.is_over:
            return 0.0
        call = Call(method="GET", path=job_path(self.job_id), read=bytes)
        attempts = Attempts(connection=self.connection, call=call, made=self.failed_attempts)
        match ended_with:
            case httpx2.Response() if ended_with.is_success:
                wait_s: float | None = attempts.after_error(httpx2.RemoteProtocolError(_TOO_EARLY))
            case httpx2.Response():
                wait_s = attempts.after_answer(ended_with)
            case _:
                wait_s = attempts.after_error(ended_with)
        self.failed_attempts = attempts.made
        return wait_s or 0.0


_TOO_EARLY = "the stream ended before the job"
