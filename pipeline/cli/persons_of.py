"""The persons of a collection, here or in a running service."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from pipeline.cli.running_service import find_service

Fields = Mapping[str, object]


class Persons(Protocol):
    """Each answer has the fields that it has over HTTP."""

    def list(self) -> Iterable[Fields]: ...

    def create(self, person_id: str) -> Fields: ...

    def show(self, person_id: str) -> Fields: ...

    def delete(self, person_id: str) -> None: ...

    def associate(self, person_id: str, faces: Sequence[str], min_score: float | None) -> Fields: ...

    def dissociate(self, person_id: str, faces: Sequence[str]) -> Fields: ...


@contextmanager
def open_persons(collection: str) -> Iterator[Persons]:
    """Args: `collection` is "" for PICTOR_COLLECTION."""
    if (service := find_service()) is not None:
        from pipeline.cli.persons_there import PersonsThere
        from pipeline.client_settings import ClientSettings

        with service.connect() as pictor:
            yield PersonsThere(pictor, collection or ClientSettings.from_env().collection)
    else:
        from pipeline.cli.persons_here import open_persons_here

        with open_persons_here(collection) as persons:
            yield persons
