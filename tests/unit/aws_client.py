"""A real client of botocore, whose requests the application answers in this process."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.client import BaseClient
from botocore.config import Config
from botocore.model import ListShape, MapShape, Shape, StructureShape
from starlette.testclient import TestClient

from pipeline.service.aws_pairs import access_key_id_of, secret_of

MASTER = "a-master-key-of-32-characters-or-more"
SESSION = botocore.session.Session()  # it reads the model of the API once
HOP = ("connection", "transfer-encoding")


@dataclass
class Wire:
    """Takes the place of botocore's network. What is sent may be changed on its way."""

    client: TestClient
    change: dict[str, str] = field(default_factory=dict)  # headers
    body: bytes | None = None
    answers: list[Any] = field(default_factory=list)

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        headers = {name: _text(value) for name, value in request.headers.items()} | self.change
        address = urlsplit(request.url)
        path = address.path + (f"?{address.query}" if address.query else "")
        sent = self.client.request(
            request.method, path or "/", content=self.body or request.body or b"", headers=headers
        )
        self.answers.append(sent)
        return AWSResponse(request.url, sent.status_code, _Headers(sent.headers), _Raw(sent.content))


class _Headers(dict[str, str]):
    def __init__(self, found: Mapping[str, str]) -> None:
        super().__init__({name.lower(): value for name, value in found.items() if name not in HOP})


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> list[bytes]:
        return [self._body]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def aws_client(
    client: TestClient,
    key_id: str,
    *,
    secret: str = "",
    path: str = "/rekognition",
    stated: Mapping[str, str] | None = None,
) -> tuple[BaseClient, Wire]:
    """Args: `stated`: headers of every request, as a hook of the event `before-sign` adds them."""
    made = SESSION.create_client(
        "rekognition",
        region_name="eu-central-1",
        endpoint_url=f"http://127.0.0.1{path}",
        aws_access_key_id=access_key_id_of(key_id),
        aws_secret_access_key=secret or secret_of(key_id, MASTER),
        config=Config(retries={"total_max_attempts": 1}),
    )

    def state(request: Any, **_: Any) -> None:
        for name, value in (stated or {}).items():
            request.headers[name] = value

    wire = Wire(client)
    made.meta.events.register("before-sign.rekognition", state)
    made.meta.events.register("before-send.rekognition", lambda request, **_: wire.send(request))
    return made, wire


def unknown_members(client: BaseClient, operation: str, body: bytes) -> list[str]:
    """The members of an answer that the API's model does not have, or has with another type."""
    shape = client.meta.service_model.operation_model(operation).output_shape
    return faults_of(shape, json.loads(body), operation)


_JSON: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (float, int),
    "double": (float, int),
    "timestamp": (float, int),
}


def faults_of(shape: Shape, value: Any, at: str) -> list[str]:
    """What of an answer the model does not have, or has with another type. Args: `at`: where it stands."""
    match shape:
        case StructureShape():
            if not isinstance(value, dict):
                return [at]
            required = [f"{at}.{name} is missing" for name in shape.required_members if name not in value]
            return required + [
                fault
                for name, each in value.items()
                for fault in (
                    faults_of(shape.members[name], each, f"{at}.{name}")
                    if name in shape.members
                    else [f"{at}.{name}"]
                )
            ]
        case ListShape():
            return [
                fault for n, each in enumerate(value) for fault in faults_of(shape.member, each, f"{at}[{n}]")
            ]
        case MapShape():
            return [fault for each in value.values() for fault in faults_of(shape.value, each, at)]
        case _:
            if not isinstance(value, _JSON[shape.type_name]):
                return [at]
            enum = getattr(shape, "enum", None)
            return [f"{at}: {value}"] if enum and value not in enum else []
