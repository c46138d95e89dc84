"""S3 as an ObjectStore: the minio SDK for everything, obstore in front of it for the bulk of the reads."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from minio import Minio
from minio.error import MinioException, S3Error
from minio.helpers import MIN_PART_SIZE, check_object_name

from pipeline.adapters.s3.config import Endpoint, S3Config, parse_endpoint
from pipeline.adapters.s3.content_encoding import undo_encoding
from pipeline.adapters.s3.credentials import CredentialSource
from pipeline.adapters.s3.errors import SDK_ERRORS, Place, code_of, explain
from pipeline.adapters.s3.http import HttpClient, http_client
from pipeline.adapters.s3.listing import lists_by_folder, walk_folders
from pipeline.adapters.s3.reader import FastReader, reads_with_obstore
from pipeline.errors import ArgumentError, ConfigError, ImageError, TargetError, TransientError
from pipeline.names import check_bucket_name
from pipeline.types import FetchedObject, ObjectRef, Reason

if TYPE_CHECKING:
    from minio.datatypes import Object
    from urllib3.response import BaseHTTPResponse

T = TypeVar("T")

_PIECE_BYTES = 2**18
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_METADATA_HEADER = "x-amz-meta-"


class S3Store:
    """ObjectStore over any S3 service. Safe to share between threads. Build it after a fork, not before.

    Args:
        pause: how to wait between two tries of one call.
    """

    def __init__(self, config: S3Config, *, pause: Callable[[float], None] = time.sleep) -> None:
        endpoint = parse_endpoint(config.endpoint)
        credentials = CredentialSource(config)
        self._config = config
        self._endpoint = endpoint
        self._pause = pause
        self._http = http_client(config, endpoint)
        self._minio = _minio_client(config, endpoint, credentials, self._http)
        self._fast = FastReader(config, endpoint, credentials)

    def __repr__(self) -> str:
        return f"S3Store({self._endpoint.url})"

    def close(self) -> None:
        self._http.clear()

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        """Every object, a page of 1,000 at a time. A page that fails is asked for again from the last key."""
        self._check_bucket(bucket)
        last = start_after or ""
        pages = self._list_pages(bucket, prefix, last)
        first = next(pages, None)
        if lists_by_folder(self._http.server):  # known since its first answer
            yield from walk_folders(lambda folder: self._list_folder(bucket, folder), prefix, last)
            return
        for ref in chain([first] if first else [], pages):
            self._check_order(ref, last)
            yield ref
            last = ref.key

    def _list_pages(self, bucket: str, prefix: str, last: str) -> Iterator[ObjectRef]:
        """In the order of the server."""
        fails = 0
        while True:
            try:
                for listed in self._minio.list_objects(
                    bucket, prefix=prefix, recursive=True, start_after=last or None
                ):
                    ref = _listed_ref(bucket, listed)
                    yield ref
                    last, fails = ref.key, 0
                return
            except SDK_ERRORS as err:
                fails += 1
                self._pause_or_raise(err, self._place(bucket), fails)

    def _list_folder(self, bucket: str, prefix: str) -> list[ObjectRef]:
        return self._ask(
            bucket,
            None,
            lambda: [_listed_ref(bucket, each) for each in self._minio.list_objects(bucket, prefix=prefix)],
        )

    def list_older_than(self, bucket: str, age: timedelta) -> Iterator[ObjectRef]:
        """Objects whose last write lies further back, by the service's clock and ours."""
        before = datetime.now(UTC) - age
        self._check_bucket(bucket)
        pages = self._minio.list_objects(bucket, recursive=True)
        while (listed := self._ask(bucket, None, lambda: next(pages, None))) is not None:
            if listed.last_modified is not None and listed.last_modified < before:
                yield _ref(bucket, listed)

    def stat(self, bucket: str, key: str) -> ObjectRef:
        self._check_names(bucket, key)
        return self._ask(bucket, key, lambda: _ref(bucket, self._head(bucket, key)))

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        self._check_bucket(ref.bucket)  # before it becomes part of a URL
        fast = reads_with_obstore(ref.key)
        if fast:
            fetched = self._fast.read(ref, max_bytes=max_bytes)
            if fetched is not None:
                return fetched
        self._check_names(ref.bucket, ref.key)
        fetched = self._ask(ref.bucket, ref.key, lambda: self._read(ref, max_bytes), fails=int(fast))
        if fast:
            self._fast.note_fallback()
        return fetched

    def get_metadata(self, ref: ObjectRef) -> Mapping[str, str]:
        self._check_names(ref.bucket, ref.key)
        head = self._ask(ref.bucket, ref.key, lambda: self._head(ref.bucket, ref.key))
        if head.etag != ref.etag:
            raise ImageError(Reason.CHANGED, f"version {ref.etag} was listed, {head.etag} is there")
        return _user_metadata(head.metadata or {})

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """In one request, so a reader sees the old object or the new one."""
        self._check_writable(bucket, key)
        part_bytes = max(len(body), MIN_PART_SIZE)
        # Asked of the bucket, not of the object: a refused write is no fault of one image.
        self._ask(
            bucket,
            None,
            lambda: self._minio.put_object(bucket, key, BytesIO(body), len(body), part_size=part_bytes),
        )

    def delete(self, bucket: str, key: str) -> None:
        self._check_writable(bucket, key)
        self._ask(bucket, None, lambda: self._minio.remove_object(bucket, key))

    def check(self) -> None:
        """Raise unless the service answers and knows the key. Needs no permission of its own."""

        def list_buckets() -> None:
            try:
                self._minio.list_buckets()
            except MinioException as err:
                if code_of(err) != "AccessDenied":  # a key that may only read one bucket is a good key
                    raise

        self._ask("", None, list_buckets)

    def make_bucket(self, bucket: str) -> None:
        """Safe to run twice, on servers that forgive it and on those that do not."""

        def make() -> None:
            try:
                self._minio.make_bucket(bucket)
            except MinioException as err:
                if code_of(err) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

        self._check_bucket(bucket)
        self._ask(bucket, None, make)

    def _ask(self, bucket: str, key: str | None, call: Callable[[], T], fails: int = 0) -> T:
        """Call until it works, fails for good, or has failed often enough."""
        while True:
            try:
                return call()
            except SDK_ERRORS as err:
                fails += 1
                self._pause_or_raise(err, self._place(bucket, key), fails)

    def _pause_or_raise(self, err: Exception, place: Place, fails: int) -> None:
        error = explain(err, place)
        if not isinstance(error, TransientError):
            raise error from err
        if fails >= self._config.attempts:
            raise TransientError(f"{error}; {fails} tries") from err
        longest_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (fails - 1))
        # Jitter, so that the threads of many workers do not come back all at once.
        self._pause(longest_s * random.uniform(0.5, 1))  # noqa: S311

    def _check_bucket(self, bucket: str) -> None:
        try:
            check_bucket_name(bucket)
        except ArgumentError as err:
            raise TargetError(str(err)) from err
        if self._endpoint.is_aws and ":" in bucket:  # in front of AWS' host, it would end the host's name
            raise TargetError(f"bucket {bucket!r}: AWS has no tenants, whose names a colon would end")

    def _check_names(self, bucket: str, key: str) -> None:
        self._check_bucket(bucket)
        _check_key(key)

    def _check_writable(self, bucket: str, key: str) -> None:
        try:
            self._check_names(bucket, key)
        except ImageError as err:
            raise ConfigError(f"bucket {bucket!r}: key {key!r} cannot be written; {err.detail}") from err

    def _place(self, bucket: str, key: str | None = None) -> Place:
        return Place(self._endpoint.url, bucket, key, self._config.timeout_s)

    def _check_order(self, ref: ObjectRef, last: str) -> None:
        # The cursor of a job is the last key: in another order, objects would be lost when it resumes.
        if ref.key <= last:
            raise TargetError(
                f"{self._place(ref.bucket)} lists {ref.key!r} after {last!r}; byte order of keys is needed. "
                "SeaweedFS is known by its Server header: a proxy in front of it must keep that"
            )

    def _head(self, bucket: str, key: str) -> "Object":
        try:
            return self._minio.stat_object(bucket, key)
        except S3Error:
            # An answer to HEAD has no body that says why. The same question as GET has.
            self._minio.get_object(bucket, key, length=1).close()
            raise

    def _read(self, ref: ObjectRef, max_bytes: int) -> FetchedObject:
        pin: dict[str, str | list[str] | tuple[str]] = {"If-Match": f'"{ref.etag}"'} if ref.etag else {}
        response = self._minio.get_object(ref.bucket, ref.key, request_headers=pin)
        try:
            _check_version(response, ref.etag)
            encoding = response.headers.get("content-encoding", "")
            body = undo_encoding(self._read_body(response, max_bytes), encoding, max_bytes=max_bytes)
            return FetchedObject(body=body, metadata=_user_metadata(response.headers), encoding=encoding)
        finally:
            response.close()
            response.release_conn()

    def _read_body(self, response: "BaseHTTPResponse", max_bytes: int) -> bytes:
        said_bytes = int(response.headers.get("content-length") or 0)
        if said_bytes > max_bytes:
            raise ImageError(Reason.TOO_LARGE, f"{said_bytes} bytes are over the limit of {max_bytes}")
        started, pieces, length = time.monotonic(), [], 0
        # read1 returns the bytes so far, so that the deadline is checked while bytes drip; decode_content off
        # leaves the bytes as they are stored.
        while piece := response.read1(_PIECE_BYTES, decode_content=False):
            pieces.append(piece)
            length += len(piece)
            if length > max_bytes:
                raise ImageError(Reason.TOO_LARGE, f"more than the limit of {max_bytes} bytes")
            if time.monotonic() - started > self._config.object_deadline_s:
                raise ImageError(Reason.TIMEOUT, f"not read within {self._config.object_deadline_s:g} s")
        return b"".join(pieces)


def _minio_client(
    config: S3Config, endpoint: Endpoint, credentials: CredentialSource, http: HttpClient
) -> Minio:
    try:
        return Minio(
            endpoint.host,
            secure=endpoint.secure,
            region=config.region,
            credentials=credentials,
            http_client=http,
        )
    except ValueError as err:
        raise ConfigError(f"S3 endpoint {endpoint.url} with region {config.region!r} is not usable") from err


def _check_key(key: str) -> None:
    try:
        check_object_name(key)
        key.encode()
    except ValueError as err:
        # The object may well be there, so its older vector stays.
        raise ImageError(
            Reason.ACCESS_DENIED,
            "the S3 client cannot ask for a key with a '.' or '..' segment, of blanks or not in Unicode",
        ) from err


def _ref(bucket: str, found: "Object") -> ObjectRef:
    return ObjectRef(
        bucket=bucket, key=found.object_name or "", etag=found.etag or "", size_bytes=found.size or 0
    )


def _listed_ref(bucket: str, listed: "Object") -> ObjectRef:
    # Of the listing alone: the answer to a HEAD has whole seconds where the listing has milliseconds.
    modified = listed.last_modified
    return replace(_ref(bucket, listed), modified_ms=round(modified.timestamp() * 1000) if modified else None)


def _check_version(response: "BaseHTTPResponse", etag: str) -> None:
    # Not every service knows If-Match.
    found = response.headers.get("etag", "").strip('"')
    if etag and found != etag:
        raise ImageError(Reason.CHANGED, f"version {etag} was listed, {found} is there")


def _user_metadata(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name[len(_METADATA_HEADER) :].lower(): value
        for name, value in headers.items()
        if name.lower().startswith(_METADATA_HEADER)
    }
