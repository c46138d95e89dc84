"""ClientRequestToken: the same request with the same token is worked on once, and always answered alike."""

import hashlib
import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import assert_never

from pipeline.api.aws.errors import AwsError
from pipeline.api.backend import Backend
from pipeline.api.rekognition.members import WithToken
from pipeline.api.rekognition.shapes import Shape
from pipeline.errors import TransientError
from pipeline.service.access import Caller
from pipeline.types import KeyedRequest, RequestState

LONGEST = timedelta(minutes=5)  # after that a process is taken for dead
KEPT = timedelta(hours=8)  # longer than any SDK goes on trying


def answered_once(
    operation: str, body: WithToken, ports: Backend, caller: Caller, work: Callable[[], Shape]
) -> Shape:
    """What `work` answers, or has answered to the same request before.

    Raises:
        AwsError: the token was used for another request, or the same one is being worked on.
    """
    if body.ClientRequestToken is None:
        return work()
    request = _request_of(operation, body, body.ClientRequestToken, caller)
    match ports.requests.begin(request, now=datetime.now(UTC)):
        case RequestState.NEW:
            return _worked(request, ports, work)
        case RequestState.ANSWERED:
            answer: Shape = json.loads(ports.requests.answer_of(request) or "{}")
            return answer
        case RequestState.IN_FLIGHT:
            raise AwsError("ConflictException", "the same request is being worked on")
        case RequestState.OTHER:
            raise AwsError(
                "IdempotentParameterMismatchException",
                "ClientRequestToken: it was used for a request with other parameters",
            )
        case state:
            assert_never(state)


def _request_of(operation: str, body: WithToken, token: str, caller: Caller) -> KeyedRequest:
    """A token is that of one key: others neither see its answers nor stand in its way."""
    named = f"rekognition\0{caller.tenant}\0{caller.key_id or caller.who}\0{operation}\0{token}"
    asked = body.model_dump_json(exclude={"ClientRequestToken"})
    return KeyedRequest(
        name=hashlib.sha256(named.encode()).hexdigest(),
        digest=hashlib.sha256(asked.encode()).hexdigest(),
        attempt=secrets.token_hex(16),
        until=datetime.now(UTC) + LONGEST,
    )


def _worked(request: KeyedRequest, ports: Backend, work: Callable[[], Shape]) -> Shape:
    try:
        answer = work()
    except BaseException:
        ports.requests.forget(request)
        raise
    with suppress(TransientError):  # the answer is right all the same; the claim ends by itself
        ports.requests.end(request, kept_until=datetime.now(UTC) + KEPT, answer=json.dumps(answer))
    return answer
