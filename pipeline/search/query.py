"""The kinds of queries: a row or person of the collection, a picture in a store, its bytes, a vector, words.

In a collection of faces, a picture asks with each of its faces, and so does the id of an image.
Words can have any of the others beside them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a command that names a file, and sends it, needs no arrays and no rows
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.types import Box


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A row that is in the collection already: no pixels are read."""

    text: str  # as it was asked, for the answer
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Object:
    """An image in a bucket or folder."""

    text: str
    bucket: str
    key: str
    box: "Box | None" = None  # of the face that is meant; None: each face
    counts: Callable[[Mapping[str, str]], bool] | None = None  # by a face's metadata: whether it is meant
    only_largest: bool = False  # of these faces


@dataclass(frozen=True, kw_only=True, slots=True)
class Bytes:
    """An image that is nowhere but here."""

    text: str
    body: bytes
    box: "Box | None" = None  # these three as above
    counts: Callable[[Mapping[str, str]], bool] | None = None
    only_largest: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Vector:
    """A point of the collection's space. `values` is [D], of any length but 0."""

    text: str
    values: "NDArray[np.float32] | Sequence[float]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """A person of the collection, by the mean of the faces that are theirs."""

    text: str
    id: str


Picture = Object | Bytes
Shown = Stored | Picture | Vector | Person  # what the hits are to look like


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """How much each part of a query counts. All are above 0, and only their ratio matters."""

    text: float = 1.0
    unwanted: float = 0.5
    picture: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """What the hits are to show, in words, and what they are not to show. See `search.points`.

    At least one prompt or a picture is there.
    """

    text: str
    prompts: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    picture: Shown | None = None
    weights: Weights = field(default_factory=Weights)


Query = Shown | Text


def picture_of(query: Query) -> Shown | None:
    """What a query shows. Words may have nothing beside them."""
    return query.picture if isinstance(query, Text) else query
