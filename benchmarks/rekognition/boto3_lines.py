"""Asks by boto3, which does not come with Pictor: a line in is a call, and a line out its answer."""

import base64
import json
import sys
from typing import Any

import boto3  # type: ignore[import-not-found, unused-ignore]
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

TIMEOUT_S = 300  # the first answers wait for a model


def main() -> None:
    client = boto3.client(
        "rekognition", config=Config(retries={"total_max_attempts": 1}, read_timeout=TIMEOUT_S)
    )
    raw: list[bytes] = []
    client.meta.events.register(
        "after-call.rekognition", lambda http_response, **_: raw.append(http_response.content)
    )
    for line in sys.stdin:
        operation, members = json.loads(line)
        try:
            getattr(client, xform_name(operation))(**_read(members))
            print(json.dumps({"answer": json.loads(raw[-1])}), flush=True)
        except ClientError as err:
            error = err.response["Error"]
            print(json.dumps({"code": error["Code"], "message": error["Message"]}), flush=True)


def _read(value: Any) -> Any:
    """With bytes where the parent wrote {"base64": …}."""
    if isinstance(value, list):
        return [_read(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"base64"}:
        return base64.b64decode(value["base64"])
    return {name: _read(each) for name, each in value.items()}


if __name__ == "__main__":
    main()
