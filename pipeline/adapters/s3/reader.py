"""The fast way to read one S3 object: obstore, at a quarter of the minio SDK's CPU and outside the GIL.

It only ever succeeds or gives up. After a failure, the object is asked for again through the minio SDK,
whose errors have a structure; obstore's are prose.
"""

import logging
import re
import time
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import S3Store as ObstoreS3

from pipeline.adapters.s3.config import Endpoint, S3Config
from pipeline.adapters.s3.content_encoding import undo_encoding
from pipeline.adapters.s3.credentials import CredentialSource
from pipeline.adapters.s3.http import environment_proxy
from pipeline.errors import ImageError
from pipeline.names import is_host_label
from pipeline.tls import SYSTEM
from pipeline.types import FetchedObject, ObjectRef, Reason

if TYPE_CHECKING:
    from obstore import GetResult  # exists for type checkers only
    from obstore.store import ClientConfig

_EMPTY_OR_DOTS = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")
_PIECE_BYTES = 4 * 2**20
NO_PROXY = "http://127.0.0.1:0"  # nothing can listen there, so a connection fails at once
# obstore reports these beside the user's own metadata.
_STANDARD_ATTRIBUTES = frozenset(
    {
        "Content-Disposition",
        "Content-Encoding",
        "Content-Language",
        "Content-Type",
        "Cache-Control",
        "Storage-Class",
    }
)

logger = logging.getLogger(__name__)


def reads_with_obstore(key: str) -> bool:
    """Whether obstore reads this key and no other.

    It refuses empty segments and control characters; and a slash at either end it removes without a word,
    so that another object would be read. The test is narrower than its rules: rare characters (unprintable
    ones such as U+3000) go the slow and sure way too.
    """
    return key.isprintable() and not _EMPTY_OR_DOTS.search(key)


class FastReader:
    """One obstore client per bucket. Safe to share between threads, not across a fork."""

    def __init__(self, config: S3Config, endpoint: Endpoint, credentials: CredentialSource) -> None:
        self._config = config
        self._endpoint = endpoint
        self._credentials = credentials
        self._stores: dict[str, ObstoreS3] = {}
        self._lock = Lock()
        self._said = False

    def read(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject | None:
        """Read the listed version. None when that did not work, for whatever reason.

        Raises:
            ImageError: too_large, or timeout when bytes came but not all of them in time.
        """
        started, answered = time.monotonic(), False
        try:
            store = self._store_of(ref.bucket)
            result = store.get(ref.key, options={"if_match": f'"{ref.etag}"'} if ref.etag else None)
            answered = True
            if ref.etag and (result.meta["e_tag"] or "").strip('"') != ref.etag:
                return None
            return FetchedObject(
                body=undo_encoding(_read_body(result, max_bytes), _encoding(result), max_bytes=max_bytes),
                metadata=_user_metadata(result),
                encoding=_encoding(result),
            )
        except (BaseError, OSError, ValueError) as err:
            logger.debug("fast read failed", extra={"bucket": ref.bucket, "error": type(err).__name__})
            if answered and time.monotonic() - started >= self._config.object_deadline_s:
                raise ImageError(
                    Reason.TIMEOUT, f"not read within {self._config.object_deadline_s:g} s"
                ) from err
            return None

    def note_fallback(self) -> None:
        """Say once that the slow way worked where this one did not: a moment's outage, or a lasting cost."""
        if not self._said:
            self._said = True
            logger.warning(
                "an object was read the slow way, after the fast one failed",
                extra={"endpoint": self._endpoint.url},
            )

    def _store_of(self, bucket: str) -> ObstoreS3:
        with self._lock:
            if bucket not in self._stores:
                self._stores[bucket] = self._connect(bucket)
            return self._stores[bucket]

    def _connect(self, bucket: str) -> ObstoreS3:
        # Other services need not know host names of buckets.
        virtual = self._endpoint.is_aws and is_host_label(bucket)
        # obstore reads AWS_* variables by itself. All that could send us elsewhere is set here.
        aws = f"https://{bucket + '.' if virtual else ''}s3.{self._config.region}.amazonaws.com"
        url = aws if self._endpoint.is_aws else self._endpoint.url
        return ObstoreS3(
            bucket,
            config={
                "endpoint": url,
                "aws_endpoint_url_s3": url,
                "region": self._config.region,
                "virtual_hosted_style_request": virtual,
                "skip_signature": False,
                "s3_express": False,
            },
            client_options=self._client_options(url),
            retry_config={"max_retries": 0},  # asking again is S3Store's, with one policy for both clients
            credential_provider=self._credentials,
        )

    def _client_options(self, url: str) -> "ClientConfig":
        timeout = timedelta(seconds=self._config.timeout_s)
        options: ClientConfig = {
            "allow_http": not self._endpoint.secure,
            "allow_invalid_certificates": False,  # whatever a variable of the environment says
            "connect_timeout": min(timeout, timedelta(seconds=5)),
            "read_timeout": timeout,  # of each read; the default is to wait for ever
            "timeout": timedelta(seconds=self._config.object_deadline_s),
        }
        if environment_proxy(self._endpoint) is None:
            # obstore follows redirects and has no option against it. Every other host than that of the
            # endpoint is asked for through a proxy that is not there, so nobody is led elsewhere. An
            # exclusion knows no port: another one of this host is asked, unsigned (decision 0157).
            options |= {"proxy_url": NO_PROXY, "proxy_excludes": urlsplit(url).hostname or ""}
        if self._config.ca_file not in ("", SYSTEM):
            options["root_certificate"] = Path(self._config.ca_file).read_text(encoding="ascii")
        return options


def _read_body(result: "GetResult", max_bytes: int) -> bytes:
    size_bytes = result.meta["size"]
    if size_bytes > max_bytes:
        raise ImageError(Reason.TOO_LARGE, f"{size_bytes} bytes are over the limit of {max_bytes}")
    pieces, length = [], 0
    for piece in result.stream(min_chunk_size=_PIECE_BYTES):
        length += len(piece)
        if length > max_bytes:
            raise ImageError(Reason.TOO_LARGE, f"more than the limit of {max_bytes} bytes")
        pieces.append(bytes(piece))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _encoding(result: "GetResult") -> str:
    return str(result.attributes.get("Content-Encoding", ""))


def _user_metadata(result: "GetResult") -> dict[str, str]:
    return {name: value for name, value in result.attributes.items() if name not in _STANDARD_ATTRIBUTES}
