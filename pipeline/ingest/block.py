"""A staged block: the pixels of one batch as one object, so that a queue never carries pixels.

Layout, little-endian: the magic `PICTORB1`, the header's length as u32, the header as JSON, then the pixels
as raw uint8 [N, 3, S, S]. The header holds an entry for each object of the batch that was not unchanged:

    {"batch": "<job id>/<path>", "n": 2, "side": 224, "stored": ["<image id>", …], "seconds": {"fetch": 0.4},
     "outcomes": [[0, 640, 480, {"cam": "1"}], [3, "decode", "truncated", "…"], …]}

An entry begins with the object's place in the message; then follow width, height and metadata, or stage,
reason and detail.
"""

import json
import math
import struct
from collections.abc import Iterator, Sequence
from typing import TypeGuard

import numpy as np

from pipeline.errors import MessageError
from pipeline.types import (
    EmbedBatch,
    Embedded,
    FailedAt,
    ObjectRef,
    Pixels,
    Prepared,
    PreparedBatch,
    Reason,
    Rejected,
)

MAGIC = b"PICTORB1"


def block_key(job_id: str, path: str) -> str:
    """The key of a batch's block in the staging bucket. It is made from these two and read from nowhere."""
    return f"{job_id}/{path}.block"


def batch_of_block(key: str) -> tuple[str, str] | None:
    """Job id and path of the batch that a block's key names; None for a key that is no block's."""
    job_id, slash, path = key.removesuffix(".block").rpartition("/")
    return (job_id, path) if slash and key.endswith(".block") else None


def pack_block(batch: EmbedBatch, made: PreparedBatch) -> bytes:
    """Images that are embedded already are only counted: whoever made them has written them."""
    places = {ref.image_id: place for place, ref in enumerate(batch.refs)}
    outcomes = [outcome for outcome in made.outcomes if not isinstance(outcome, Embedded)]
    prepared = [outcome for outcome in outcomes if isinstance(outcome, Prepared)]
    reused = made.reused + sum(isinstance(outcome, Embedded) for outcome in made.outcomes)
    header = {
        "batch": _name(batch),
        "n": len(prepared),
        "side": prepared[0].pixels.shape[-1] if prepared else 0,
        "stored": sorted(made.stored),
        "seconds": dict(made.seconds),
        **({"reused": reused} if reused else {}),
        "outcomes": [_entry(places[outcome.ref.image_id], outcome) for outcome in outcomes],
    }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    pixels = [np.ascontiguousarray(outcome.pixels).tobytes() for outcome in prepared]
    return b"".join([MAGIC, struct.pack("<I", len(text)), text, *pixels])


def unpack_block(batch: EmbedBatch, body: bytes) -> PreparedBatch:
    """The inverse of `pack_block`, for the same batch. Pixels are views into `body`, not copies.

    Raises:
        MessageError: not a block, cut short or too long, or of another batch.
    """
    header, pixels = _split(batch, body)
    match header:
        case {"batch": str(name)} if name != _name(batch):
            raise MessageError(f"staged block of batch {_name(batch)} is one of batch {name:.200}")
        case {
            "batch": str(),
            "stored": list(stored),
            "seconds": dict(seconds),
            "outcomes": list(entries),
            **rest,
        }:
            outcomes = _outcomes(batch, entries, pixels)
            reused = rest.get("reused", 0)
            if not _is_size(reused) or reused > len(batch.refs) - len(outcomes):
                raise _damaged(batch, body)
            if not all(map(_is_duration, seconds.values())):
                raise _damaged(batch, body)
            return PreparedBatch(
                outcomes=outcomes, stored=frozenset(map(str, stored)), seconds=seconds, reused=reused
            )
        case _:
            raise _damaged(batch, body)


def _name(batch: EmbedBatch) -> str:
    return f"{batch.job_id}/{batch.path}"


def _damaged(batch: EmbedBatch, body: bytes) -> MessageError:
    return MessageError(
        f"staged block of batch {_name(batch)}: its {len(body)} bytes are cut short or damaged"
    )


def _entry(place: int, outcome: Prepared | Rejected) -> list[object]:
    if isinstance(outcome, Prepared):
        return [place, outcome.width, outcome.height, dict(outcome.metadata)]
    return [place, outcome.stage.value, outcome.reason.value, outcome.detail]


def _split(batch: EmbedBatch, body: bytes) -> tuple[object, Pixels]:
    start = len(MAGIC) + 4
    if body[: len(MAGIC)] != MAGIC or len(body) < start:
        raise _damaged(batch, body)
    (length,) = struct.unpack("<I", body[len(MAGIC) : start])
    try:
        header = json.loads(body[start : start + length])
        count, side = _size(header["n"]), _size(header["side"])
        values = np.frombuffer(body, dtype=np.uint8, offset=min(start + length, len(body)))
        pixels = values.reshape(count, 3, side, side)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as err:
        raise _damaged(batch, body) from err
    return header, pixels


def _size(value: object) -> int:
    if not _is_size(value):  # numpy would take -1 for "whatever fits"
        raise ValueError(value)
    return value


def _is_size(value: object) -> TypeGuard[int]:
    # The index keeps sizes in 32 bits.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _is_duration(value: object) -> bool:
    # No database keeps NaN or infinity as JSON.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _outcomes(
    batch: EmbedBatch, entries: Sequence[object], pixels: Pixels
) -> tuple[Prepared | Rejected, ...]:
    refs = dict(enumerate(batch.refs))  # each is taken out by its entry, so none is there twice
    images = iter(pixels)
    try:
        outcomes = tuple([_outcome(refs, entry, images) for entry in entries])
    except (KeyError, TypeError, ValueError, StopIteration) as err:
        raise MessageError(f"staged block of batch {_name(batch)} does not fit its message") from err
    if next(images, None) is not None:
        raise MessageError(f"staged block of batch {_name(batch)} holds more images than it names")
    return outcomes


def _outcome(refs: dict[int, ObjectRef], entry: object, images: Iterator[Pixels]) -> Prepared | Rejected:
    match entry:
        case [int(place), int(width), int(height), dict(metadata)]:
            ref, width, height = refs.pop(_size(place)), _size(width), _size(height)
            return Prepared(ref=ref, pixels=next(images), width=width, height=height, metadata=metadata)
        case [int(place), str(stage), str(reason), str(detail)]:
            ref = refs.pop(_size(place))
            return Rejected(ref=ref, stage=FailedAt(stage), reason=Reason(reason), detail=detail)
        case _:
            raise ValueError(entry)
