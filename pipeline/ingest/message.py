"""The wire format: versioned JSON, the same bytes in the embedded queue and in RabbitMQ.

Version 1, with the objects as short arrays since a message holds hundreds:

    {"v": 1, "type": "embed_batch", "job_id": "…", "path": "000012", "collection": "photos",
     "fingerprint": "<64 hex>", "bucket": "shop", "objects": [["a/b.jpg", "<etag>", 91234], …]}

With pixels staged, `"block": "<key>"` names them in the staging bucket. `"modified": [<ms>, null, …]` says
when each object was written, where the listing tells. `"rewritten": [3, 7]` are the places of objects that
have to be embedded again although their ETag is the one that the index holds.

A reader ignores fields it does not know, so that a newer writer of the same version can add some.
"""

import json
import re
from collections.abc import Iterator
from typing import cast

from pipeline.errors import MessageError
from pipeline.types import EmbedBatch, ObjectRef

VERSION = 1
MAX_MESSAGE_BYTES = 4 * 2**20  # 1,000 keys of the longest legal kind and room to spare
SURROGATE = re.compile("[\ud800-\udfff]")


def encode_batch(batch: EmbedBatch) -> bytes:
    """Encode a batch whose objects all lie in one bucket."""
    buckets = {ref.bucket for ref in batch.refs}
    if len(buckets) != 1:
        raise MessageError(
            f"batch {batch.path}: objects of one bucket expected, found {len(buckets)} buckets"
        )
    fields: dict[str, object] = {
        "v": VERSION,
        "type": "embed_batch",
        "job_id": batch.job_id,
        "path": batch.path,
        "collection": batch.collection,
        "fingerprint": batch.fingerprint,
        "bucket": buckets.pop(),
        "objects": [[ref.key, ref.etag, ref.size_bytes] for ref in batch.refs],
    }
    if batch.block:
        fields["block"] = batch.block
    if any(ref.modified_ms is not None for ref in batch.refs):
        fields["modified"] = [ref.modified_ms for ref in batch.refs]
    if rewritten := [place for place, ref in enumerate(batch.refs) if ref.key in batch.rewritten]:
        fields["rewritten"] = rewritten
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def decode_batch(body: bytes) -> EmbedBatch:
    """Parse a message.

    Raises:
        MessageError: not JSON, too long, an unknown version, or a field missing or of the wrong type.
    """
    fields = _parse_object(body)
    bucket = _text(fields, "bucket")
    objects = _objects(fields)
    times = _numbers(fields, "modified", default=[None] * len(objects))
    if len(times) != len(objects):
        raise MessageError(f"message field 'modified' has {len(times)} numbers for {len(objects)} objects")
    refs = tuple(_parse_ref(bucket, *entry) for entry in zip(objects, times, strict=True))
    return EmbedBatch(
        job_id=_text(fields, "job_id"),
        path=_text(fields, "path"),
        collection=_text(fields, "collection"),
        fingerprint=_text(fields, "fingerprint"),
        refs=refs,
        block=_text(fields, "block") if "block" in fields else "",
        rewritten=frozenset(_keys_at(_numbers(fields, "rewritten", default=[]), refs)),
    )


def _parse_object(body: bytes) -> dict[str, object]:
    if len(body) > MAX_MESSAGE_BYTES:
        raise MessageError(f"message of {len(body)} bytes; at most {MAX_MESSAGE_BYTES} are read")
    try:
        fields = json.loads(body.decode())  # from bytes, json would guess UTF-16 and let surrogates through
    except (ValueError, RecursionError) as err:  # bad UTF-8; a million brackets
        raise MessageError("message is not JSON") from err
    if not isinstance(fields, dict):
        raise MessageError(f"message is a JSON {type(fields).__name__}, an object was expected")
    if fields.get("v") != VERSION:
        raise MessageError(f"message version {fields.get('v')!r:.40} is unknown; this reader knows {VERSION}")
    if fields.get("type") != "embed_batch":
        raise MessageError(f"message type {fields.get('type')!r:.40} is unknown; 'embed_batch' was expected")
    return cast("dict[str, object]", fields)


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value or not _is_unicode(value):
        raise MessageError(f"message field {name!r} is {value!r:.40}; a non-empty text was expected")
    return value


def _objects(fields: dict[str, object]) -> list[object]:
    value = fields.get("objects")
    if not isinstance(value, list) or not value:
        raise MessageError("message field 'objects' must be a list of at least one object")
    return value


def _numbers(fields: dict[str, object], name: str, *, default: list[int | None]) -> list[int | None]:
    value = fields.get(name, default)
    if not isinstance(value, list) or not all(number is None or _is_integer(number) for number in value):
        raise MessageError(f"message field {name!r} is {value!r:.40}; a list of integers was expected")
    return value


def _keys_at(places: list[int | None], refs: tuple[ObjectRef, ...]) -> Iterator[str]:
    for place in places:
        if place is None or not 0 <= place < len(refs):
            raise MessageError(
                f"message field 'rewritten' names place {place}; there are {len(refs)} objects"
            )
        yield refs[place].key


def _parse_ref(bucket: str, entry: object, modified_ms: int | None) -> ObjectRef:
    match entry:
        case [str(key), str(etag), int(size_bytes)] if (
            key and _is_unicode(key + etag) and _is_size(size_bytes)
        ):
            return ObjectRef(
                bucket=bucket, key=key, etag=etag, size_bytes=size_bytes, modified_ms=modified_ms
            )
        case _:
            raise MessageError(f"message object {entry!r:.80} is not [key, etag, size_bytes]")


def _is_unicode(text: str) -> bool:
    # JSON can spell half of a surrogate pair, which no object's key holds and no database takes.
    return SURROGATE.search(text) is None


def _is_size(value: int) -> bool:
    return _is_integer(value) and value >= 0


def _is_integer(value: object) -> bool:
    return (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    )  # the ledger keeps it
