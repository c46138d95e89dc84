"""Users of the test's own object store, with policies: the interfaces of Ceph for both.

The first user of `devstack.ceph` may make users.
"""

import hashlib
import json
import secrets
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

from minio.credentials.credentials import Credentials
from minio.signer import sign_v4_s3
from minio.time import to_amz_date

TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class S3User:
    access_key: str
    secret_key: str


class S3Users:
    """Args: `access_key` and `secret_key` are of a user who may make users."""

    def __init__(self, endpoint: str, access_key: str, secret_key: str) -> None:
        self._endpoint = endpoint
        self._credentials = Credentials(access_key, secret_key)

    def make(self, name: str, policy: dict[str, object]) -> S3User:
        """Who may do what the policy allows, and make no bucket of its own."""
        user = S3User(access_key=name, secret_key=secrets.token_hex(10))
        keys = {"access-key": user.access_key, "secret-key": user.secret_key}
        self._send("PUT", "/admin/user", {"uid": name, "display-name": name, "max-buckets": "-1", **keys})
        document = {"UserName": name, "PolicyName": "pictor", "PolicyDocument": json.dumps(policy)}
        self._send("POST", "/", {}, {"Action": "PutUserPolicy", "Version": "2010-05-08", **document})
        return user

    def drop(self, name: str) -> None:
        self._send("DELETE", "/admin/user", {"uid": name})

    def _send(
        self, method: str, path: str, query: dict[str, str], form: dict[str, str] | None = None
    ) -> None:
        body = urlencode(form or {}).encode()
        url = urlsplit(f"{self._endpoint}{path}?{urlencode(sorted(query.items()))}".rstrip("?"))
        date, digest = datetime.now(UTC), hashlib.sha256(body).hexdigest()
        headers = sign_v4_s3(
            method=method,
            url=url,
            region="us-east-1",
            headers={"Host": url.netloc, "X-Amz-Date": to_amz_date(date), "X-Amz-Content-Sha256": digest},
            credentials=self._credentials,
            content_sha256=digest,
            date=date,
        )
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        request = urllib.request.Request(  # noqa: S310 - the URL is the test's own, always http
            url.geturl(),
            method=method,
            data=body,
            headers={name: str(text) for name, text in headers.items()},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy
        with opener.open(request, timeout=TIMEOUT_S):
            pass
