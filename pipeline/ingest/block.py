"""A staged block: the pixels of one batch as one object, so that a queue never carries pixels.

Layout, little-endian: the magic `PICTORB1`, the header's length as u32, the header as JSON, then the pixels
as raw uint8 [N, 3, S, S], those of one image after each other. The header holds an entry for each object of
the batch that was not unchanged:

    {"batch": "<job id>/<path>", "n": 2, "side": 224, "stored": ["<image id>", …], "seconds": {"fetch": 0.4},
     "outcomes": [[0, 640, 480, {"cam": "1"}], [3, "decode", "truncated", "…"], …]}

An entry begins with the object's place in the message; then follow width, height and metadata, or stage,
reason and detail. An image of several views, or of none, ends with their boxes: [[left, top, width, height],
null, …]. Without them it has one view, the whole of it. Views that are faces follow as a second list: of each
its five points, ten numbers, then confidence, sharpness, brightness, yaw, pitch and roll. "rows" says how
many rows the index has of a stored id, where it is not one. Where models are beside the first, "beside" holds
the side of each one's input: {"copies": 288}. Their pixels follow those of the first, in the order of names.
"""

import json
import math
import struct
from collections.abc import Iterator, Sequence

from pipeline.errors import MessageError
from pipeline.ingest.block_pixels import ImagePixels, describe_pixels, is_size, pack_pixels, read_pixels
from pipeline.ports.image_rows import MAX_VIEWS
from pipeline.types import (
    Box,
    EmbedBatch,
    Embedded,
    Face,
    FailedAt,
    ObjectRef,
    Prepared,
    PreparedBatch,
    Reason,
    Rejected,
    View,
)

MAGIC = b"PICTORB1"
FACE_NUMBERS = 16
MAX_FACE_NUMBER = 2**31  # as sizes have it. Neither infinity nor NaN is under it


def block_key(job_id: str, path: str) -> str:
    """The key of a batch's block in the staging bucket. It is made from these two and read from nowhere."""
    return f"{job_id}/{path}.block"


def batch_of_block(key: str) -> tuple[str, str] | None:
    """Job id and path of the batch that a block's key names. None for a key that is no block's."""
    job_id, slash, path = key.removesuffix(".block").rpartition("/")
    return (job_id, path) if slash and key.endswith(".block") else None


def pack_block(batch: EmbedBatch, made: PreparedBatch) -> bytes:
    """Images that are embedded already are only counted: whoever made them has written them."""
    places = {ref.image_id: place for place, ref in enumerate(batch.refs)}
    outcomes = [outcome for outcome in made.outcomes if not isinstance(outcome, Embedded)]
    views = [view for outcome in outcomes if isinstance(outcome, Prepared) for view in outcome.views]
    written = {done.ref.image_id: len(done.vectors) for done in made.outcomes if isinstance(done, Embedded)}
    reused, stored = made.reused + len(written), dict(made.stored) | written
    rows = {image_id: count for image_id, count in sorted(stored.items()) if count != 1}
    header = {
        "batch": _name(batch),
        **describe_pixels(views),
        "stored": sorted(stored),
        "seconds": dict(made.seconds),
        **({"rows": rows} if rows else {}),
        **({"reused": reused} if reused else {}),
        "outcomes": [_entry(places[outcome.ref.image_id], outcome) for outcome in outcomes],
    }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    return b"".join([MAGIC, struct.pack("<I", len(text)), text, *pack_pixels(views)])


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
            reused, rows = rest.get("reused", 0), rest.get("rows", {})
            if not is_size(reused) or reused > len(batch.refs) - len(outcomes):
                raise _damaged(batch, body)
            if not all(map(_is_duration, seconds.values())):
                raise _damaged(batch, body)
            if not isinstance(rows, dict) or not all(map(_is_row_count, rows.values())):
                raise _damaged(batch, body)
            return PreparedBatch(
                outcomes=outcomes,
                stored={str(image_id): rows.get(image_id, 1) for image_id in map(str, stored)},
                seconds=seconds,
                reused=reused,
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
        entry = [place, outcome.width, outcome.height, dict(outcome.metadata)]
        boxes = [view.box for view in outcome.views]
        if boxes == [None]:
            return entry
        faces = [view.face and _numbers(view.face) for view in outcome.views]
        return [*entry, [box and _sides(box) for box in boxes], *([faces] if any(faces) else [])]
    return [place, outcome.stage.value, outcome.reason.value, outcome.detail]


def _sides(box: Box) -> list[int]:
    return [box.left, box.top, box.width, box.height]


def _numbers(face: Face) -> list[float]:
    made = [face.confidence, face.sharpness, face.brightness, face.yaw, face.pitch, face.roll]
    return [number for point in face.points for number in point] + made


def _is_row_count(value: object) -> bool:
    return is_size(value) and value <= MAX_VIEWS


def _split(batch: EmbedBatch, body: bytes) -> tuple[object, Iterator[ImagePixels]]:
    start = len(MAGIC) + 4
    if body[: len(MAGIC)] != MAGIC or len(body) < start:
        raise _damaged(batch, body)
    (length,) = struct.unpack("<I", body[len(MAGIC) : start])
    try:
        header = json.loads(body[start : start + length])
        pixels = read_pixels(header, body, start=start + length)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as err:
        raise _damaged(batch, body) from err
    return header, pixels


def _size(value: object) -> int:
    if not is_size(value):  # numpy would take -1 for "whatever fits"
        raise ValueError(value)
    return value


def _is_duration(value: object) -> bool:
    # No database keeps NaN or infinity as JSON.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _outcomes(
    batch: EmbedBatch, entries: Sequence[object], images: Iterator[ImagePixels]
) -> tuple[Prepared | Rejected, ...]:
    refs = dict(enumerate(batch.refs))  # each is taken out by its entry, so none is there twice
    try:
        outcomes = tuple([_outcome(refs, entry, images) for entry in entries])
    except (KeyError, TypeError, ValueError, StopIteration) as err:
        raise MessageError(f"staged block of batch {_name(batch)} does not fit its message") from err
    if next(images, None) is not None:
        raise MessageError(f"staged block of batch {_name(batch)} holds more images than it names")
    return outcomes


def _outcome(refs: dict[int, ObjectRef], entry: object, images: Iterator[ImagePixels]) -> Prepared | Rejected:
    match entry:
        case [int(place), int(width), int(height), dict(metadata), *boxes]:
            views = [_view(next(images), box, face) for box, face in _views(boxes)]
            ref, width, height = refs.pop(_size(place)), _size(width), _size(height)
            return Prepared(ref=ref, views=tuple(views), width=width, height=height, metadata=metadata)
        case [int(place), str(stage), str(reason), str(detail)]:
            ref = refs.pop(_size(place))
            return Rejected(ref=ref, stage=FailedAt(stage), reason=Reason(reason), detail=detail)
        case _:
            raise ValueError(entry)


def _view(pixels: ImagePixels, box: Box | None, face: Face | None) -> View:
    return View(pixels=pixels.first, box=box, face=face, beside=pixels.beside)


def _views(rest: Sequence[object]) -> list[tuple[Box | None, Face | None]]:
    match rest:
        case []:
            return [(None, None)]
        case [list(boxes)] if len(boxes) <= MAX_VIEWS:
            return [(_box(box), None) for box in boxes]
        case [list(boxes), list(faces)] if len(boxes) == len(faces) <= MAX_VIEWS:
            return [(_box(box), _face(face)) for box, face in zip(boxes, faces, strict=True)]
        case _:
            raise ValueError(rest)


def _box(box: object) -> Box | None:
    match box:
        case None:
            return None
        case [int(left), int(top), int(width), int(height)]:
            return Box(left=_size(left), top=_size(top), width=_size(width), height=_size(height))
        case _:
            raise ValueError(box)


def _face(numbers: object) -> Face | None:
    if numbers is None:
        return None
    if not isinstance(numbers, list) or len(numbers) != FACE_NUMBERS or not all(map(_is_finite, numbers)):
        raise ValueError(numbers)
    x1, y1, x2, y2, x3, y3, x4, y4, x5, y5, *made = map(float, numbers)
    confidence, sharpness, brightness, yaw, pitch, roll = made
    return Face(
        points=((x1, y1), (x2, y2), (x3, y3), (x4, y4), (x5, y5)),
        confidence=confidence,
        sharpness=sharpness,
        brightness=brightness,
        yaw=yaw,
        pitch=pitch,
        roll=roll,
    )


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_FACE_NUMBER
