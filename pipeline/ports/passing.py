"""A store that passes every call on, for those that change one of them."""

from collections.abc import Callable, Iterator, Mapping

from pipeline.ports.store import ObjectStore
from pipeline.types import FetchedObject, ObjectRef


class PassingStore:
    """An ObjectStore. Args: `store` gives the one that is asked, at each call."""

    def __init__(self, store: Callable[[], ObjectStore]) -> None:
        self._store = store

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        return self._store().list_objects(bucket, prefix, start_after)

    def stat(self, bucket: str, key: str) -> ObjectRef:
        return self._store().stat(bucket, key)

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        return self._store().get(ref, max_bytes=max_bytes)

    def get_metadata(self, ref: ObjectRef) -> Mapping[str, str]:
        return self._store().get_metadata(ref)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self._store().put(bucket, key, body)

    def delete(self, bucket: str, key: str) -> None:
        self._store().delete(bucket, key)
