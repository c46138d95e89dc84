"""A model on a device, by what it can be asked for. `ModelSpec.capabilities` says what that is."""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.types import Capability, ModelSpec, View

T = TypeVar("T")


class ImageEmbedder(Protocol):
    """`Capability.IMAGES`. Safe to share between threads: calls beyond what the device takes at once wait."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def device(self) -> str:
        """Where it computes: "cpu" or "cuda:0". Empty while its weights are not loaded."""
        ...

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed one group.

        Args:
            pixels: [N, 3, S, S], 0..255, S = `spec.preprocessing.crop`. Any N >= 1.

        Returns:
            [N, D], rows of unit length. A row the model could not answer is NaN.
        """
        ...


class TextEmbedder(Protocol):
    """`Capability.TEXT`: texts and images become points of one space. Safe to share between threads."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def max_tokens(self) -> int:
        """The longest text that it reads, with the tokens that it adds itself."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        """Of each text, whole: nothing is cut off."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed one group.

        Args:
            texts: any N >= 1, none of more than `max_tokens`.

        Returns:
            [N, D], rows of unit length.
        """
        ...


def never_late() -> None:
    """For who has no deadline."""


class ViewFinder(Protocol):
    """`Capability.VIEWS`: finds what a model looks at in an image, on the CPU, before any device is asked.

    Safe to share between threads.
    """

    @property
    def min_side_px(self) -> int:
        """The shorter side that it needs. Larger images may be scaled down to it before it sees them."""
        ...

    def find_views(
        self, rgb: NDArray[np.uint8], *, check_time: Callable[[], None] = never_late
    ) -> Sequence[View]:
        """The same views each time it is asked, best first.

        Args:
            rgb: [H, W, 3], upright.
            check_time: called before each step of the work. What it raises ends the work.

        Returns:
            At most MAX_VIEWS. Boxes are in px of `rgb`, pixels [3, S, S].
        """
        ...


Finding = Generator[None, None, Sequence[View]]
"""Work that ends with the views of a picture. It stops after each step, so that others can take theirs."""


@runtime_checkable
class SteppingFinder(ViewFinder, Protocol):
    """One that can go through several pictures together: each takes a step before any takes the next.

    A network drives all else out of the caches of a core. Lines of Python take several times as long after a
    network as after the same lines for another picture.
    """

    def find_in_steps(
        self, rgb: NDArray[np.uint8], *, check_time: Callable[[], None] = never_late
    ) -> Finding:
        """The views that `find_views` gives."""
        ...


def find_in_steps(finder: ViewFinder, rgb: NDArray[np.uint8], *, check_time: Callable[[], None]) -> Finding:
    """The same of any finder. One that knows no steps does all in the first."""
    if isinstance(finder, SteppingFinder):
        return (yield from finder.find_in_steps(rgb, check_time=check_time))
    return finder.find_views(rgb, check_time=check_time)


def finish(work: Generator[None, None, T]) -> T:
    """Take all steps of it. Returns what it ends with."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            ended: T = end.value
            return ended


def warm_model(embedder: ImageEmbedder) -> None:
    """Load the weights and run them once, so that the first image is as fast as the next."""
    side_px = embedder.spec.preprocessing.crop
    embedder.embed_images(np.zeros((1, 3, side_px, side_px), dtype=np.uint8))


def warm_texts(embedder: TextEmbedder) -> None:
    """The same for texts."""
    embedder.embed_texts(["warm"])


def require_capability(spec: ModelSpec, capability: Capability) -> None:
    """Raises ModelError, naming the model and what it can do."""
    if capability not in spec.capabilities:
        raise ModelError(
            f"model {spec.name!r} cannot be asked for {capability}; it has: {', '.join(spec.capabilities)}"
        )


def check_beside(spec: ModelSpec, beside: Mapping[str, ImageEmbedder]) -> None:
    """Raises ModelError: a model that others are beside is here without one of them."""
    if missing := [model.name for model in spec.beside if model.name not in beside]:
        raise ModelError(f"model {spec.name!r} has an embedding {missing[0]!r}, whose model is not here")


def check_finder(spec: ModelSpec, finder: ViewFinder | None) -> None:
    """Raises ModelError: a model that looks at views has no finder, or another one has."""
    if finder is not None:
        require_capability(spec, Capability.VIEWS)
    elif spec.has_views:
        raise ModelError(f"model {spec.name!r} looks at views of an image, and nothing here finds them")
