"""The pixels of a staged block: all that the first model takes, then all that each model beside it takes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from pipeline.errors import MessageError
from pipeline.types import ModelSpec, Pixels, View


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePixels:
    """Of one view: [3, S, S] for the first model, and as much for each one beside it, by name."""

    first: Pixels
    beside: Mapping[str, Pixels]


def describe_pixels(views: Sequence[View]) -> Mapping[str, object]:
    """What the header of a block says of them: how many there are, and the side of each model's input."""
    side = views[0].pixels.shape[-1] if views else 0
    beside = {name: pixels.shape[-1] for name, pixels in sorted(views[0].beside.items())} if views else {}
    return {"n": len(views), "side": side, **({"beside": beside} if beside else {})}


def pack_pixels(views: Sequence[View]) -> Iterator[bytes]:
    """In the order in which `read_pixels` takes them."""
    yield from (_bytes_of(view.pixels) for view in views)
    for name in sorted(views[0].beside) if views else ():
        yield from (_bytes_of(view.beside[name]) for view in views)


def read_pixels(header: Mapping[str, object], body: bytes, *, start: int) -> Iterator[ImagePixels]:
    """The inverse of both. Pixels are views into `body`, not copies.

    The header may count more views than there is memory for, so none is made before it is asked for.

    Raises:
        KeyError, TypeError, ValueError: the header does not describe what follows it.
    """
    count, sides = _size(header["n"]), {"": _size(header["side"])}
    if beside := header.get("beside", {}):
        if not isinstance(beside, dict) or "" in beside:
            raise TypeError(beside)
        sides |= {name: _size(beside[name]) for name in sorted(beside)}
    values = np.frombuffer(body, dtype=np.uint8, offset=min(start, len(body)))
    ends = np.cumsum([count * 3 * side * side for side in sides.values()], dtype=object)
    if ends[-1] != len(values):
        raise ValueError(ends[-1])
    parts = np.split(values, ends[:-1].astype(np.int64))
    shaped = {
        name: part.reshape(count, 3, side, side)
        for (name, side), part in zip(sides.items(), parts, strict=True)
    }
    first = shaped.pop("")
    return (
        ImagePixels(first=first[place], beside={name: part[place] for name, part in shaped.items()})
        for place in range(count)
    )


def check_inputs(views: Iterable[View], spec: ModelSpec, *, block: str) -> None:
    """Args: `block` names it. Raises MessageError: the pixels are not what these models take."""
    wanted = {model.name: model.spec.preprocessing.crop for model in spec.beside}
    for view in views:
        side = view.pixels.shape[-1]
        beside = {name: pixels.shape[-1] for name, pixels in view.beside.items()}
        if (side, beside) != (spec.preprocessing.crop, wanted):
            raise MessageError(f"staged block {block}: its pixels are not those that {spec.name!r} takes")


def is_size(value: object) -> TypeGuard[int]:
    # The index keeps sizes in 32 bits.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _size(value: object) -> int:
    if not is_size(value):  # numpy would take -1 for "whatever fits"
        raise ValueError(value)
    return value


def _bytes_of(pixels: Pixels) -> bytes:
    return np.ascontiguousarray(pixels).tobytes()
