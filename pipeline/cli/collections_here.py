"""The collections of the index that this process opens."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pipeline import wiring
from pipeline.cli.recording import open_accountability
from pipeline.ports import VectorIndex
from pipeline.service import delete, show
from pipeline.service.access import local_caller
from pipeline.service.answers import collection_json, generation_json
from pipeline.service.face_pictures import forget_pictures
from pipeline.settings import Settings

Fields = Mapping[str, object]


@contextmanager
def collections_here() -> Iterator["CollectionsHere"]:
    settings = Settings.from_env()
    with wiring.open_index(settings) as index:
        yield CollectionsHere(index, settings)


class CollectionsHere:
    def __init__(self, index: VectorIndex, settings: Settings) -> None:
        self._index = index
        self._settings = settings

    def list(self) -> Sequence[Fields]:
        return [collection_json(info) for info in show.list_collections(self._index, local_caller())]

    def show(self, name: str) -> Fields:
        return collection_json(show.show_collection(name, self._index, local_caller()))

    def generations(self, name: str) -> Sequence[Fields]:
        return [generation_json(info) for info in show.list_generations(name, self._index, local_caller())]

    def drop(self, name: str) -> None:
        with (
            wiring.open_ledger(self._settings) as ledger,
            open_accountability(self._settings, ledger.policies) as answers_to,
        ):
            delete.drop_collection(name, self._index, ledger.book, ledger.persons, answers_to, local_caller())
        place = wiring.open_uploads(self._settings, driver=wiring.driver_here(self._settings))
        forget_pictures(name, place, wiring.open_store(self._settings), local_caller())
