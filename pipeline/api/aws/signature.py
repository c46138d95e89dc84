"""Verifies AWS Signature Version 4 of a request whose body is at hand.

Written from AWS's description of the algorithm; tests sign with botocore. Like AWS, it takes the same request
again while its time is within the skew. Whoever could read it on its way could repeat it: use TLS.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.api.aws.errors import AwsError
from pipeline.service.aws_pairs import key_id_in

SKEW = timedelta(minutes=5)
ALGORITHM = "AWS4-HMAC-SHA256"
ALWAYS_SIGNED = frozenset({"host", "x-amz-date"})
SIGNED_IF_SENT = ("x-amz-", "x-pictor-")  # what they say counts, so nobody on the way may add one

_FORM = re.compile(
    rf"{ALGORITHM} Credential=(?P<id>[^/,\s]+)/(?P<date>\d{{8}})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request,\s*SignedHeaders=(?P<headers>[a-z0-9;_.-]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = "%Y%m%dT%H%M%SZ"

Headers = Sequence[tuple[str, str]]  # names in lower case, in the order in which they came


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """A request as it came. `query` is raw."""

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        return ",".join(" ".join(value.split()) for known, value in self.headers if known == name)


def verify(
    request: Signed, *, service: str, secret_of: Callable[[str], str], now: datetime | None = None
) -> str:
    """The id of the key that signed this request.

    Args:
        secret_of: from the id of a key, whether or not there is one.

    Raises:
        AwsError: nobody signed it, somebody else did, or not now.
    """
    key_id, found = _claimed(request, service, now or datetime.now(UTC))
    if not hmac.compare_digest(_signature(request, found, secret_of(key_id)), found["signature"]):
        raise _invalid(
            "the signature is not that of this request with this key: check the secret, and that no proxy "
            "changes the host, the path or a header"
        )
    return key_id


def claimed_key(request: Signed, *, service: str) -> str:
    """Whose signature it claims to have, by its headers alone. Raises AwsError: it cannot be right."""
    return _claimed(request, service, datetime.now(UTC))[0]


def _claimed(request: Signed, service: str, now: datetime) -> tuple[str, dict[str, str]]:
    found = _parts(request)
    key_id = key_id_in(found["id"])
    if key_id is None or request.header("x-amz-security-token"):
        raise AwsError(
            "UnrecognizedClientException",
            "this is no access key id of this service; `pictor keys create NAME --role searcher --aws` makes "
            "one",
        )
    if found["service"] != service:
        raise _invalid(f"the signature is for service {found['service'][:40]!r}; {service!r} is expected")
    _check_time(request.header("x-amz-date"), found["date"], now)
    _check_headers(request, found["headers"].split(";"))
    return key_id, found


def _parts(request: Signed) -> dict[str, str]:
    authorization = request.header("authorization")
    if "x-amz-signature" in request.query.lower():
        raise _invalid("presigned requests are not taken; sign with the header Authorization")
    if request.query:
        raise _invalid("a query in the address is not taken")
    if not authorization:
        raise AwsError("MissingAuthenticationTokenException", "the request is not signed")
    match = _FORM.fullmatch(authorization)
    if match is None:
        raise AwsError("IncompleteSignatureException", f"Authorization: the form of {ALGORITHM} is expected")
    return match.groupdict()


def _check_time(given: str, date: str, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(given, _TIME).replace(tzinfo=UTC)
    except ValueError:
        raise AwsError("IncompleteSignatureException", f"X-Amz-Date: {_TIME} is expected") from None
    if given[:8] != date:
        raise _invalid(f"the credential is of {date}, and X-Amz-Date of another day")
    if abs(now - signed_at) > SKEW:
        minutes = SKEW // timedelta(minutes=1)
        raise _invalid(
            f"Signature expired: it is of {given}, and this service has {now:{_TIME}}; at most {minutes} "
            "minutes are allowed between the clocks"
        )


def _check_headers(request: Signed, signed: Sequence[str]) -> None:
    sent = {name for name, _ in request.headers if name.startswith(SIGNED_IF_SENT)}
    if missing := (ALWAYS_SIGNED | sent) - set(signed):
        raise _invalid(f"these headers must be signed: {', '.join(sorted(missing))}")
    digest = request.header("x-amz-content-sha256")
    if digest and not _DIGEST.fullmatch(digest):
        raise _invalid(f"{digest[:40]} is no digest of the body; the body must be signed")
    if list(signed) != sorted(set(signed)):
        raise AwsError("IncompleteSignatureException", "SignedHeaders: names in order are expected")


def _signature(request: Signed, found: dict[str, str], secret: str) -> str:
    scope = f"{found['date']}/{found['region']}/{found['service']}/aws4_request"
    lines = [
        request.method,
        request.path,
        request.query,
        *(f"{name}:{request.header(name)}" for name in found["headers"].split(";")),
        "",
        found["headers"],
        hashlib.sha256(request.body).hexdigest(),
    ]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    text = "\n".join((ALGORITHM, request.header("x-amz-date"), scope, digest))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidSignatureException", message)
