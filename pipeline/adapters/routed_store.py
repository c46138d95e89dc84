"""One store in front of two: a bucket that begins with "/" is a folder, any other is in S3."""

from collections.abc import Iterator, Mapping

from pipeline.errors import ConfigError
from pipeline.ports import ObjectStore
from pipeline.types import FetchedObject, ObjectRef


class RoutedStore:
    """ObjectStore that asks the one its bucket belongs to. Either may be absent."""

    def __init__(self, *, folders: ObjectStore | None, s3: ObjectStore | None) -> None:
        self._folders = folders
        self._s3 = s3

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        return self._store_of(bucket).list_objects(bucket, prefix, start_after)

    def stat(self, bucket: str, key: str) -> ObjectRef:
        return self._store_of(bucket).stat(bucket, key)

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        return self._store_of(ref.bucket).get(ref, max_bytes=max_bytes)

    def get_metadata(self, ref: ObjectRef) -> Mapping[str, str]:
        return self._store_of(ref.bucket).get_metadata(ref)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self._store_of(bucket).put(bucket, key, body)

    def delete(self, bucket: str, key: str) -> None:
        self._store_of(bucket).delete(bucket, key)

    def _store_of(self, bucket: str) -> ObjectStore:
        if bucket.startswith("/"):
            if self._folders is None:
                raise ConfigError(f"folder {bucket}: folders cannot be read here; give s3://bucket/prefix")
            return self._folders
        if self._s3 is None:
            raise ConfigError(
                f"bucket {bucket!r}: S3 is not set up here; set PICTOR_S3_ENDPOINT, PICTOR_S3_ACCESS_KEY and "
                "PICTOR_S3_SECRET_KEY"
            )
        return self._s3
