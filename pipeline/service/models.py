"""Which model answers for a generation: its own, or the one that was asked for if that is the same."""

import threading
from collections.abc import Callable
from typing import Protocol

from pipeline.errors import ModelError
from pipeline.ports import ImageEmbedder, TextEmbedder, VectorIndex, ViewFinder
from pipeline.ports.embedder import require_capability
from pipeline.ports.model_binding import check_binding, choose_model, choose_precision, find_generation
from pipeline.types import Capability, CollectionRef, ModelSpec


def _no_texts(address: str) -> TextEmbedder:
    raise ModelError(f"nothing here loads the text tower of model {address}")


class Models(Protocol):
    def answering(self, target: CollectionRef) -> ImageEmbedder:
        """The model whose vectors the generation holds.

        Raises:
            ModelMismatchError: this process has another one.
            NotFoundError, TargetError: there is no such collection.
        """
        ...

    def reading(self, target: CollectionRef) -> TextEmbedder:
        """The same model, for texts. No image tower is loaded or waited for.

        Raises:
            ModelError: it reads none.
            ModelMismatchError, NotFoundError, TargetError: as above.
        """
        ...

    def finding(self, target: CollectionRef) -> ViewFinder | None:
        """What finds the views that this model looks at. None for a model of whole images."""
        ...


class ResidentModel:
    """A process that holds one model, whatever it is asked for. Safe to share between threads."""

    def __init__(
        self,
        embedder: ImageEmbedder,
        index: VectorIndex,
        finder: ViewFinder | None = None,
        texts: TextEmbedder | None = None,
    ) -> None:
        self._embedder = embedder
        self._index = index
        self._finder = finder
        self._texts = texts

    def answering(self, target: CollectionRef) -> ImageEmbedder:
        if target.fingerprint != self._embedder.spec.fingerprint:
            check_binding(find_generation(target, self._index), self._embedder.spec)
        return self._embedder

    def reading(self, target: CollectionRef) -> TextEmbedder:
        spec = self.answering(target).spec
        if self._texts is None:
            require_capability(spec, Capability.TEXT)
            raise ModelError(f"the text tower of model {spec.name!r} is not loaded in this process")
        return self._texts

    def finding(self, target: CollectionRef) -> ViewFinder | None:
        return self._finder if self.answering(target).spec.has_views else None


class LoadedOnDemand:
    """A process that loads the model of the collection for the first image that is asked for.

    Safe to share between threads. Collections of one model share it, so memory does not grow with them.

    Args:
        load: from a model's address and a precision.
        requested: a model's address that is taken for the collection's own, if its file has moved.
        precision: as PICTOR_PRECISION has it.
        finder_of: of a model that looks at views.
        load_texts: the text tower of a model, by its address.
    """

    def __init__(
        self,
        index: VectorIndex,
        load: Callable[[str, str], ImageEmbedder],
        *,
        requested: str,
        precision: str,
        finder_of: Callable[[ModelSpec], ViewFinder | None] = lambda _spec: None,
        load_texts: Callable[[str], TextEmbedder] = _no_texts,
    ) -> None:
        self._index = index
        self._load = load
        self._requested = requested
        self._precision = precision
        self._finder_of = finder_of
        self._finders: dict[str, ViewFinder | None] = {}  # by fingerprint
        self._of: dict[CollectionRef, ImageEmbedder] = {}
        self._loaded: dict[tuple[str, str], ImageEmbedder] = {}  # by fingerprint and precision
        self._loading = threading.Lock()
        self._load_texts = load_texts
        self._texts_of: dict[CollectionRef, TextEmbedder] = {}
        self._texts: dict[str, TextEmbedder] = {}  # by fingerprint
        self._loading_texts = threading.Lock()  # of its own: words do not wait for an image tower

    def answering(self, target: CollectionRef) -> ImageEmbedder:
        if (known := self._of.get(target)) is not None:
            return known  # without the lock: no other model's loading is waited for
        with self._loading:  # two at once would load it twice
            if target not in self._of:
                self._of[target] = self._open(target)
            return self._of[target]

    def reading(self, target: CollectionRef) -> TextEmbedder:
        if (known := self._texts_of.get(target)) is not None:
            return known
        with self._loading_texts:
            if target not in self._texts_of:
                self._texts_of[target] = self._open_texts(target)
            return self._texts_of[target]

    def finding(self, target: CollectionRef) -> ViewFinder | None:
        spec = self.answering(target).spec
        with self._loading:
            if spec.fingerprint not in self._finders:
                self._finders[spec.fingerprint] = self._finder_of(spec)
            return self._finders[spec.fingerprint]

    def _open(self, target: CollectionRef) -> ImageEmbedder:
        info = find_generation(target, self._index)
        precision = choose_precision(self._precision, info)
        if (loaded := self._loaded.get((info.fingerprint, precision))) is not None:
            return loaded
        embedder = self._load(choose_model(self._requested, info), precision)
        check_binding(info, embedder.spec)
        self._loaded[info.fingerprint, precision] = embedder
        return embedder

    def _open_texts(self, target: CollectionRef) -> TextEmbedder:
        info = find_generation(target, self._index)
        if (loaded := self._texts.get(info.fingerprint)) is not None:
            return loaded
        texts = self._load_texts(choose_model(self._requested, info))
        check_binding(info, texts.spec)
        require_capability(texts.spec, Capability.TEXT)
        self._texts[info.fingerprint] = texts
        return texts
