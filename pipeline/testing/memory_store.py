"""Objects in a dictionary: the fake of tests. It passes the contract tests of the real stores."""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from threading import Lock

from pipeline.errors import ImageError, TargetError
from pipeline.types import FetchedObject, ObjectRef, Reason


@dataclass(frozen=True, slots=True)
class _Stored:
    body: bytes
    etag: str
    metadata: Mapping[str, str]
    modified_ms: int


class MemoryStore:
    """ObjectStore of the named buckets. The ETag is the MD5 of the body, as S3 has it."""

    def __init__(self, *buckets: str) -> None:
        self._buckets: dict[str, dict[str, _Stored]] = {bucket: {} for bucket in buckets}
        self._failures: deque[Exception] = deque()
        self._clock_ms = count(1)  # each write has a time of its own
        self._lock = Lock()

    def fail_next(self, error: Exception, times: int = 1) -> None:
        """Make the next calls raise `error` without effect, whichever method and thread they come from."""
        with self._lock:
            self._failures.extend([error] * times)

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        with self._lock:
            found = sorted(self._open(bucket).items())
        for key, stored in found:
            if key.startswith(prefix) and key > (start_after or ""):
                yield replace(_ref(bucket, key, stored), modified_ms=stored.modified_ms)

    def stat(self, bucket: str, key: str) -> ObjectRef:
        with self._lock:
            return _ref(bucket, key, self._find(bucket, key))

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        with self._lock:
            stored = self._find(ref.bucket, ref.key)
        if stored.etag != ref.etag:
            raise ImageError(Reason.CHANGED, f"version {ref.etag} was listed, {stored.etag} is there")
        if len(stored.body) > max_bytes:
            raise ImageError(Reason.TOO_LARGE, f"{len(stored.body)} bytes are over the limit of {max_bytes}")
        return FetchedObject(body=stored.body, metadata=stored.metadata)

    def get_metadata(self, ref: ObjectRef) -> Mapping[str, str]:
        with self._lock:
            stored = self._find(ref.bucket, ref.key)
        if stored.etag != ref.etag:
            raise ImageError(Reason.CHANGED, f"version {ref.etag} was listed, {stored.etag} is there")
        return stored.metadata

    def put(self, bucket: str, key: str, body: bytes, metadata: Mapping[str, str] | None = None) -> None:
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        with self._lock:
            self._open(bucket)[key] = _Stored(bytes(body), etag, dict(metadata or {}), next(self._clock_ms))

    def delete(self, bucket: str, key: str) -> None:
        with self._lock:
            self._open(bucket).pop(key, None)

    def _open(self, bucket: str) -> dict[str, _Stored]:
        if self._failures:
            raise self._failures.popleft()
        if bucket not in self._buckets:
            raise TargetError(f"bucket {bucket!r} does not exist in memory")
        return self._buckets[bucket]

    def _find(self, bucket: str, key: str) -> _Stored:
        stored = self._open(bucket).get(key)
        if stored is None:
            raise ImageError(Reason.NOT_FOUND, "the object is not there any more")
        return stored


def _ref(bucket: str, key: str, stored: _Stored) -> ObjectRef:
    return ObjectRef(bucket=bucket, key=key, etag=stored.etag, size_bytes=len(stored.body))
