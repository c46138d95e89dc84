"""Ports of a job that asks, before each object, whether somebody who is waited for should go first."""

from collections.abc import Callable

from pipeline.ports.passing import PassingStore
from pipeline.ports.store import ObjectStore
from pipeline.types import FetchedObject, ObjectRef


class StoreGivingWay(PassingStore):
    """Args: `give_way` is called before each object is read, and may take its time."""

    def __init__(self, store: ObjectStore, give_way: Callable[[], None]) -> None:
        super().__init__(lambda: store)
        self._give_way = give_way

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        self._give_way()
        return super().get(ref, max_bytes=max_bytes)
