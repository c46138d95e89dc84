"""Lets signed requests of AWS clients in, and answers them in their form."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.api.aws.errors import MEDIA_TYPE, AwsError, aws_answer, aws_name, modelled
from pipeline.api.aws.signature import Signed, claimed_key, verify
from pipeline.api.header_text import header_text
from pipeline.api.middleware.bounds import BoundedBodies, replay
from pipeline.api.middleware.callers import person_of
from pipeline.api.problems import MEDIA_TYPE as PROBLEM
from pipeline.api.request_id import request_id_of
from pipeline.errors import DeniedError, PictorError
from pipeline.service.aws_pairs import secret_of
from pipeline.service.keyring import Keyring, caller_with

FOLDER = "/rekognition"
SIGNED_PATH = "pictor.aws_path"  # of a scope: the path as it was signed
SERVICE = "rekognition"
NO_TARGET = "-"  # in the place of an operation
_TARGET = re.compile(r"RekognitionService\.([A-Za-z]{1,64})")
_ENTRANCES = (FOLDER, f"{FOLDER}/")


class AwsRequests:
    """Gives each operation a path of its own, and turns every refusal into an error of AWS's form.

    A client asks at `/rekognition`, or at `/`: the header X-Amz-Target tells it from a form of the page.

    Args:
        reword: puts what the client knows things by in the place of names in a message.
    """

    def __init__(self, app: ASGIApp, *, reword: Callable[[str], str]) -> None:
        self._app = app
        self._reword = reword

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_entrance(scope):
            await self._app(scope, receive, send)
            return
        target = _TARGET.fullmatch(Headers(scope=scope).get("x-amz-target", ""))
        scope[SIGNED_PATH] = scope["path"]
        scope["path"] = f"{FOLDER}/{target[1] if target else NO_TARGET}"
        await self._app(scope, receive, _Translated(scope, send, self._reword).send)


class SignedRequests:
    """Reads the body of such a request, and asks whose signature it has. Args: `master`: see `aws_pairs`."""

    def __init__(self, app: ASGIApp, *, keyring: Keyring, master: str, max_bytes: int) -> None:
        self._app = app
        self._keyring = keyring
        self._master = master
        self._read = BoundedBodies(self._verified, max_bytes=max_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or SIGNED_PATH not in scope:
            await self._app(scope, receive, send)
        elif await self._settled(
            self._check_claim, scope, b"", receive, send
        ):  # before its body costs memory
            await self._read(scope, receive, send)

    async def _verified(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive()).get("body", b"")  # whole: `BoundedBodies` has read it
        if await self._settled(self._know_caller, scope, body, receive, send):
            await self._app(scope, replay(body, receive), send)

    async def _settled(
        self,
        check: Callable[[Scope, bytes], None],
        scope: Scope,
        body: bytes,
        receive: Receive,
        send: Send,
    ) -> bool:
        """Whether the request passes. One that does not is answered."""
        try:
            await run_in_threadpool(check, scope, body)
        except AwsError as err:
            await aws_answer(err.name, str(err))(scope, receive, send)
        except PictorError as err:
            await aws_answer(aws_name(err.code.value), str(err))(scope, receive, send)
        else:
            return True
        return False

    def _check_claim(self, scope: Scope, body: bytes) -> None:
        """Raises AwsError, UnknownCallerError, TransientError."""
        self._keyring.check_claim(claimed_key(_signed(scope, body), service=SERVICE))

    def _know_caller(self, scope: Scope, body: bytes) -> None:
        """Raises AwsError, UnknownCallerError, DeniedError, TransientError."""
        key_id = verify(
            _signed(scope, body), service=SERVICE, secret_of=lambda key: secret_of(key, self._master)
        )
        key, person = self._keyring.signer(key_id), person_of(Headers(scope=scope))
        if person and not key.acts_for_others:
            raise DeniedError(f"key {key.key_id} may not say on whose behalf it asks")
        caller = caller_with(key, request_id=request_id_of(scope), on_behalf_of=person)
        address = str(scope["client"][0]) if scope.get("client") else ""
        scope["pictor.caller"] = replace(caller, address=address)


def _signed(scope: Scope, body: bytes) -> Signed:
    return Signed(
        method=scope["method"],
        path=scope[SIGNED_PATH],
        query=scope["query_string"].decode("latin-1"),
        headers=[(name.lower(), header_text(value)) for name, value in Headers(scope=scope).items()],
        body=body,
    )


class _Translated:
    """Holds a problem document back until it is whole, and sends AWS's form of it."""

    def __init__(self, scope: Scope, send: Send, reword: Callable[[str], str]) -> None:
        self._scope = scope
        self._send = send
        self._reword = reword
        self._held: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["x-amzn-requestid"] = request_id_of(self._scope)
            if headers.get("content-type", "") == PROBLEM:
                self._held = message
                return
            if headers.get("content-type", "") == "application/json":
                headers["content-type"] = MEDIA_TYPE
        elif self._held is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_translated(self._held)
            return
        await self._send(message)

    async def _send_translated(self, held: Message) -> None:
        found = json.loads(self._body)
        name = aws_name(found["code"], found.get("reason", ""))
        operation = self._scope["path"].removeprefix(f"{FOLDER}/")
        answer = aws_answer(modelled(name, operation), self._reword(found["detail"]))
        kept = MutableHeaders(scope=held)
        for name in ("content-type", "content-length", "www-authenticate"):
            del kept[name]
        if receipt := found.get("receipt"):
            kept["x-pictor-receipt"] = receipt
        own = [pair for pair in answer.raw_headers if pair[0] != b"x-amzn-requestid"]
        await self._send({**held, "status": HTTPStatus(answer.status_code), "headers": kept.raw + own})
        await self._send({"type": "http.response.body", "body": answer.body})


def _is_entrance(scope: Scope) -> bool:
    if scope["method"] != "POST":
        return False
    return scope["path"] in _ENTRANCES or (scope["path"] == "/" and "x-amz-target" in Headers(scope=scope))
