"""The collections of a running service."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pipeline.cli.running_service import RunningService
from pipeline.client import Pictor

Fields = Mapping[str, object]


@contextmanager
def collections_there(service: RunningService) -> Iterator["CollectionsThere"]:
    with service.connect() as pictor:
        yield CollectionsThere(pictor)


class CollectionsThere:
    def __init__(self, pictor: Pictor) -> None:
        self._pictor = pictor

    def list(self) -> Sequence[Fields]:
        return [collection.raw for collection in self._pictor.list_collections()]

    def show(self, name: str) -> Fields:
        return self._pictor.show_collection(name).raw

    def generations(self, name: str) -> Sequence[Fields]:
        return [generation.raw for generation in self._pictor.list_generations(name)]

    def drop(self, name: str) -> None:
        self._pictor.drop_collection(name)
