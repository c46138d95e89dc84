"""The kinds of queries: a row or a person of the collection, an image in a store, its bytes, or a vector.

In a collection of faces, a picture asks with each of its faces, and so does the id of an image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.types import Box

if TYPE_CHECKING:  # a command that names a file, and sends it, needs no arrays
    import numpy as np
    from numpy.typing import NDArray


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
    box: Box | None = None  # of the face that is meant; None: each face
    counts: Callable[[Mapping[str, str]], bool] | None = (
        None  # by the metadata of a face: whether it is meant
    )
    only_largest: bool = False  # of these faces


@dataclass(frozen=True, kw_only=True, slots=True)
class Bytes:
    """An image that is nowhere but here."""

    text: str
    body: bytes
    box: Box | None = None  # these three as above
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
Query = Stored | Picture | Vector | Person
