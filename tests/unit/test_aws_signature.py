"""A signature of botocore: for how long it holds, and which ways of signing are refused."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from pipeline.api.aws.errors import AwsError
from pipeline.api.aws.signature import SKEW, Signed, verify
from pipeline.service.aws_pairs import access_key_id_of, secret_of

MASTER, KEY_ID = "m" * 32, "0aB1cD2eF3gH"
SECOND = timedelta(seconds=1)
TARGET = {"X-Amz-Target": "RekognitionService.ListCollections"}


def signed(
    *, way: Callable[..., Any] = SigV4Auth, headers: Mapping[str, str] = TARGET, service: str = "rekognition"
) -> Signed:
    request = AWSRequest("POST", "https://pictor.example.org/rekognition", headers=dict(headers), data=b"{}")
    pair = Credentials(access_key_id_of(KEY_ID), secret_of(KEY_ID, MASTER))
    way(pair, service, "eu-central-1").add_auth(request)
    address = urlsplit(request.url)
    sent = {name.lower(): text for name, text in request.headers.items()} | {"host": address.netloc}
    return Signed(method="POST", path=address.path, query=address.query, headers=[*sent.items()], body=b"{}")


def signer_of(request: Signed, *, after: timedelta = timedelta()) -> str:
    return verify(
        request,
        service="rekognition",
        secret_of=lambda key_id: secret_of(key_id, MASTER),
        now=datetime.now(UTC) + after,
    )


def refusal_of(request: Signed, *, after: timedelta = timedelta()) -> tuple[str, str]:
    with pytest.raises(AwsError) as caught:
        signer_of(request, after=after)
    return caught.value.name, str(caught.value)


def test_a_request_may_come_again_until_its_time_is_over_and_never_before_it() -> None:
    request = signed()
    near = SKEW - 30 * SECOND  # a slow machine signs and looks some seconds later
    for after in (timedelta(), near, -near, timedelta()):
        assert signer_of(request, after=after) == KEY_ID
    for after in (SKEW + 2 * SECOND, -SKEW - 2 * SECOND, timedelta(days=1)):
        name, words = refusal_of(request, after=after)
        assert (name, "at most 5 minutes" in words) == ("InvalidSignatureException", True)


def test_a_presigned_address_is_refused() -> None:
    request = signed(way=SigV4QueryAuth)
    assert "X-Amz-Signature=" in request.query
    name, words = refusal_of(request)
    assert (name, words.startswith("presigned requests are not taken")) == ("InvalidSignatureException", True)


@pytest.mark.parametrize("digest", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"])
def test_a_body_that_is_not_signed_is_refused_by_name(digest: str) -> None:
    name, words = refusal_of(signed(headers=TARGET | {"X-Amz-Content-SHA256": digest}))
    assert (name, digest in words) == ("InvalidSignatureException", True)


def test_a_signature_for_another_service_is_refused() -> None:
    name, words = refusal_of(signed(service="s3"))
    assert (name, "'s3'" in words) == ("InvalidSignatureException", True)
