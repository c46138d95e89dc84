"""Ports of a job that asks, before each object, whether somebody who is waited for should go first."""

from collections.abc import Callable, Iterator, Mapping

from pipeline.ports.store import ObjectStore
from pipeline.types import FetchedObject, ObjectRef


class StoreGivingWay:
    """An ObjectStore. Args: `give_way` is called before each object is read, and may take its time."""

    def __init__(self, store: ObjectStore, give_way: Callable[[], None]) -> None:
        self._store = store
        self._give_way = give_way

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        return self._store.list_objects(bucket, prefix, start_after)

    def stat(self, bucket: str, key: str) -> ObjectRef:
        return self._store.stat(bucket, key)

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        self._give_way()
        return self._store.get(ref, max_bytes=max_bytes)

    def get_metadata(self, ref: ObjectRef) -> Mapping[str, str]:
        return self._store.get_metadata(ref)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self._store.put(bucket, key, body)

    def delete(self, bucket: str, key: str) -> None:
        self._store.delete(bucket, key)
