"""Which model answers for a collection: its own, or the one that was asked for if that is the same."""

import threading
from collections.abc import Callable
from typing import Protocol

from pipeline.errors import TargetError
from pipeline.ports import Embedder, VectorIndex
from pipeline.ports.model_binding import check_binding, choose_model, choose_precision, find_collection


class Models(Protocol):
    def answering(self, collection: str) -> Embedder:
        """The model whose vectors the collection holds.

        Raises:
            ModelMismatchError: this process has another one.
            NotFoundError, TargetError: there is no such collection.
        """
        ...


class ResidentModel:
    """A process that holds one model, whatever it is asked for. Safe to share between threads."""

    def __init__(self, embedder: Embedder, index: VectorIndex) -> None:
        self._embedder = embedder
        self._index = index

    def answering(self, collection: str) -> Embedder:
        self._index.check_model(collection, self._embedder.spec)  # costs nothing once it is known
        return self._embedder


class LoadedOnDemand:
    """A process that loads the model of the collection for the first image that is asked for.

    Safe to share between threads.

    Args:
        load: from a model's address and a precision.
        requested: a model's address that is taken for the collection's own, if its file has moved.
        precision: as PICTOR_PRECISION has it.
    """

    def __init__(
        self, index: VectorIndex, load: Callable[[str, str], Embedder], *, requested: str, precision: str
    ) -> None:
        self._index = index
        self._load = load
        self._requested = requested
        self._precision = precision
        self._loaded: dict[str, Embedder] = {}
        self._loading = threading.Lock()

    def answering(self, collection: str) -> Embedder:
        with self._loading:  # two at once would load it twice
            if not self._is_loaded(collection):
                self._loaded[collection] = self._open(collection)
            return self._loaded[collection]

    def _is_loaded(self, collection: str) -> bool:
        """A collection may have been made anew for another model since."""
        if collection not in self._loaded:
            return False
        try:
            self._index.check_model(collection, self._loaded[collection].spec)
        except TargetError:
            return False
        return True

    def _open(self, collection: str) -> Embedder:
        info = find_collection(collection, self._index)
        address = choose_model(self._requested, info)
        embedder = self._load(address, choose_precision(self._precision, info))
        check_binding(info.name, info.model_name, info.fingerprint, embedder.spec)
        return embedder
