"""The same Idempotency-Key twice is one job, whichever process is asked.

The id of the job follows from the key, and the ledger has one job of an id. `middleware.keyed` keeps out what
comes while the first request is worked on, and other requests with the same key.
"""

import hashlib
import re
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Header

from pipeline.api.problems import ProblemError
from pipeline.errors import ArgumentError
from pipeline.service.access import Caller
from pipeline.service.submit import Submission
from pipeline.types import Job

IdempotencyKey = Annotated[
    str, Header(description="The same key twice makes one: send it to be able to send again")
]
KEY = re.compile(r"[\x21-\x7e]{1,255}")


async def _of_middleware(idempotency_key: IdempotencyKey = "") -> None:
    """For the document of the API: `middleware.keyed` reads it."""


TAKES_KEY = Depends(_of_middleware)


def check_key(key: str) -> str:
    """Returns it. Raises ArgumentError: it is no key."""
    if not KEY.fullmatch(key):
        raise ArgumentError("Idempotency-Key: 1 to 255 characters of ASCII without spaces are expected")
    return key


def job_id_of(key: str, caller: Caller, *, begins: str = "") -> str | None:
    """The id that a job with this key of this tenant has; None without a key.

    Args:
        begins: how the ids of such jobs begin.

    Raises:
        ArgumentError: it is no key.
    """
    if not key:
        return None
    named = f"{caller.tenant}\0{check_key(key)}".encode()
    return f"{begins}http-{hashlib.sha256(named).hexdigest()[:32]}"


def is_same(job: Job, wanted: Submission) -> bool:
    """What a request left to the service may have another value by now: it is not compared."""
    return replace(wanted, batch_items=job.request.batch_items).request_of(job.request) == job.request


def key_reused(job: Job) -> ProblemError:
    return ProblemError(
        "key_reused", f"Idempotency-Key: it was used for job {job.job_id}, which has other arguments"
    )
