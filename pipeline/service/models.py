"""Which model answers for a generation: its own, or the one that was asked for if that is the same."""

import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from pipeline.errors import ModelError
from pipeline.ports import ImageEmbedder, TextEmbedder, VectorIndex, ViewFinder
from pipeline.ports.embedder import require_capability
from pipeline.ports.model_binding import (
    check_binding,
    choose_model,
    choose_precision,
    find_generation,
    info_of_embedding,
    unknown_embedding,
)
from pipeline.types import Capability, CollectionInfo, CollectionRef, ModelSpec

Tower = TypeVar("Tower", bound=ImageEmbedder | TextEmbedder)

NONE: Mapping[str, Any] = MappingProxyType({})


def _no_texts(address: str) -> TextEmbedder:
    raise ModelError(f"nothing here loads the text tower of model {address}")


class Models(Protocol):
    def answering(self, target: CollectionRef, embedding: str = "") -> ImageEmbedder:
        """The model whose vectors the generation holds.

        Args:
            embedding: which of its models, by the name of what it gives; "" is the first.

        Raises:
            ArgumentError: the generation has no such embedding.
            ModelMismatchError: this process has another one.
            NotFoundError, TargetError: there is no such collection.
        """
        ...

    def reading(self, target: CollectionRef, embedding: str = "") -> TextEmbedder:
        """The same model, for texts. No image tower is loaded or waited for.

        Raises:
            ModelError: it reads none.
            ArgumentError, ModelMismatchError, NotFoundError, TargetError: as above.
        """
        ...

    def finding(self, target: CollectionRef) -> ViewFinder | None:
        """What finds the views that this model looks at. None for a model of whole images."""
        ...


class ResidentModel:
    """A process that holds one model, whatever it is asked for. Safe to share between threads.

    Args:
        beside: the models beside it, and their text towers, by the names of their embeddings.
    """

    def __init__(
        self,
        embedder: ImageEmbedder,
        index: VectorIndex,
        finder: ViewFinder | None = None,
        texts: TextEmbedder | None = None,
        beside: Mapping[str, ImageEmbedder] = NONE,
        texts_beside: Mapping[str, TextEmbedder] = NONE,
    ) -> None:
        self._embedder = embedder
        self._index = index
        self._finder = finder
        self._of = {"": embedder, **beside}
        self._texts: Mapping[str, TextEmbedder] = {**({"": texts} if texts else {}), **texts_beside}

    def answering(self, target: CollectionRef, embedding: str = "") -> ImageEmbedder:
        if target.fingerprint != self._embedder.spec.fingerprint:
            check_binding(find_generation(target, self._index), self._embedder.spec)
        if embedding not in self._of:
            raise unknown_embedding(target.name, embedding, filter(None, self._of))
        return self._of[embedding]

    def reading(self, target: CollectionRef, embedding: str = "") -> TextEmbedder:
        spec = self.answering(target, embedding).spec
        if embedding not in self._texts:
            require_capability(spec, Capability.TEXT)
            raise ModelError(f"the text tower of model {spec.name!r} is not loaded in this process")
        return self._texts[embedding]

    def finding(self, target: CollectionRef) -> ViewFinder | None:
        return self._finder if self.answering(target).spec.has_views else None


class LoadedOnDemand:
    """A process that loads the model of the collection for the first image that is asked for.

    Safe to share between threads. Collections of one model share it, so memory does not grow with them.

    Args:
        load: from a model's address and a precision.
        requested: a model's address that is taken for the collection's own, if its file has moved.
        else_own: a collection that is of another model than `requested` is answered by its own.
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
        else_own: bool = False,
        precision: str,
        finder_of: Callable[[ModelSpec], ViewFinder | None] = lambda _spec: None,
        load_texts: Callable[[str], TextEmbedder] = _no_texts,
    ) -> None:
        self._index = index
        self._requested = requested
        self._else_own = else_own
        self._precision = precision
        self._finder_of = finder_of
        self._finders: dict[str, ViewFinder | None] = {}  # by fingerprint
        self._opening_finder = threading.Lock()
        self._images: _Towers[ImageEmbedder] = _Towers(load, self._open)
        # Others than those of images: words do not wait until such a tower is loaded.
        self._texts: _Towers[TextEmbedder] = _Towers(lambda address, _: load_texts(address), self._open_texts)

    def answering(self, target: CollectionRef, embedding: str = "") -> ImageEmbedder:
        return self._images.of(target, embedding)

    def reading(self, target: CollectionRef, embedding: str = "") -> TextEmbedder:
        return self._texts.of(target, embedding)

    def finding(self, target: CollectionRef) -> ViewFinder | None:
        spec = self.answering(target).spec
        with self._opening_finder:
            if spec.fingerprint not in self._finders:
                self._finders[spec.fingerprint] = self._finder_of(spec)
            return self._finders[spec.fingerprint]

    def _open(self, target: CollectionRef, embedding: str) -> ImageEmbedder:
        info = self._info(target, embedding)
        precision = choose_precision(self._precision, info)
        embedder = self._images.load_one_of(self._addresses(info, embedding), precision, info.fingerprint)
        check_binding(info, embedder.spec)
        return embedder

    def _open_texts(self, target: CollectionRef, embedding: str) -> TextEmbedder:
        info = self._info(target, embedding)
        texts = self._texts.load_one_of(self._addresses(info, embedding), "", info.fingerprint)
        check_binding(info, texts.spec)
        require_capability(texts.spec, Capability.TEXT)
        return texts

    def _info(self, target: CollectionRef, embedding: str) -> CollectionInfo:
        return info_of_embedding(find_generation(target, self._index), embedding)

    def _addresses(self, info: CollectionInfo, embedding: str) -> list[str]:
        """Where the model may be, in the order in which to look."""
        first = choose_model("" if embedding else self._requested, info)
        return [first, *([info.model_address] if self._else_own and info.model_address != first else [])]


class _Towers(Generic[Tower]):
    """Those of images, or those of texts: each is loaded once. Safe to share between threads.

    Args:
        load: from a model's address and a precision.
        open_: the tower of a generation and an embedding. It calls `load_one_of`.
    """

    def __init__(
        self, load: Callable[[str, str], Tower], open_: Callable[[CollectionRef, str], Tower]
    ) -> None:
        self._load = load
        self._open = open_
        self._of: dict[tuple[CollectionRef, str], Tower] = {}  # by the embedding, too
        self._loaded: dict[tuple[str, str], Tower] = {}  # by address and precision
        self._loading = threading.Lock()

    def of(self, target: CollectionRef, embedding: str) -> Tower:
        wanted = target, embedding
        if (known := self._of.get(wanted)) is not None:
            return known  # without the lock: no other model's loading is waited for
        with self._loading:  # two at once would load it twice
            if wanted not in self._of:
                self._of[wanted] = self._open(*wanted)
            return self._of[wanted]

    def load_one_of(self, addresses: Sequence[str], precision: str, fingerprint: str) -> Tower:
        """The one of this model, wherever it was loaded from. If there is none, the last of these addresses.

        What is loaded is kept, whichever model it turns out to be. Else each image would load it again.
        """
        for (_, loaded_in), loaded in self._loaded.items():
            if loaded_in == precision and loaded.spec.fingerprint == fingerprint:
                return loaded
        for address in addresses:
            wanted = address, precision
            if wanted not in self._loaded:
                self._loaded[wanted] = self._load(address, precision)
            if self._loaded[wanted].spec.fingerprint == fingerprint:
                break
        return self._loaded[wanted]
