"""The wire format: versioned JSON, the same bytes in the embedded queue and in RabbitMQ.

Version 1, with the objects as short arrays since a message holds hundreds:

    {"v": 1, "type": "embed_batch", "job_id": "…", "path": "000012", "collection": "photos",
     "fingerprint": "<64 hex>", "bucket": "shop", "objects": [["a/b.jpg", "<etag>", 91234], …]}

With pixels staged, `"block"` is the key of the batch's block. `"modified": [<ms>, null, …]` says when each
object was written, where the listing tells. `"rewritten": [3, 7]` are the places of objects that have to be
embedded again although their ETag is the one that the index holds.

A reader ignores fields it does not know, so that a newer writer of the same version can add some.

Anybody who may publish can write a message. So it only names a batch, by job and path: what the batch is
stands in the ledger, and a message that says otherwise is refused (decision 0067).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import cast

from pipeline.errors import MessageError
from pipeline.ingest.block import block_key
from pipeline.types import EmbedBatch, ObjectRef

VERSION = 1
MAX_MESSAGE_BYTES = 4 * 2**20  # 1,000 keys of the longest legal kind and room to spare
MAX_NAME_CHARS = 255  # of a job and of a batch: far more than any of ours has
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
    if batch.staged:
        fields["block"] = block_key(batch.job_id, batch.path)
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
        job_id=_name(fields, "job_id"),
        path=_name(fields, "path"),
        collection=_text(fields, "collection"),
        fingerprint=_text(fields, "fingerprint"),
        refs=refs,
        staged=_is_staged(fields),
        rewritten=frozenset(_keys_at(_numbers(fields, "rewritten", default=[]), refs)),
    )


def planned_as(message: EmbedBatch, body: bytes, planned_body: bytes) -> EmbedBatch:
    """The batch as it was planned, in the tier that its message is for.

    Args:
        message: as `decode_batch` read it from `body`.
        planned_body: the ledger's, of the batch that the message names.

    Raises:
        MessageError: they are not the same batch. Names the fields that differ.
    """
    if body == planned_body:
        return message
    planned = decode_batch(planned_body)
    differing = [name for name, of in _CONTENT.items() if of(message) != of(planned)]
    if differing:
        raise MessageError(
            f"batch {planned.path} of job {planned.job_id}: message and ledger differ in "
            f"{', '.join(differing)}; nothing was done"
        )
    return replace(planned, staged=message.staged)


_CONTENT: Mapping[str, Callable[[EmbedBatch], object]] = {
    "job_id": lambda batch: batch.job_id,
    "path": lambda batch: batch.path,
    "collection": lambda batch: batch.collection,
    "fingerprint": lambda batch: batch.fingerprint,
    "bucket": lambda batch: batch.refs[0].bucket,
    "objects": lambda batch: [(ref.key, ref.etag, ref.size_bytes) for ref in batch.refs],
    "modified": lambda batch: [ref.modified_ms for ref in batch.refs],
    "rewritten": lambda batch: batch.rewritten,
}


def _parse_object(body: bytes) -> dict[str, object]:
    if len(body) > MAX_MESSAGE_BYTES:
        raise MessageError(f"message of {len(body)} bytes; at most {MAX_MESSAGE_BYTES} are read")
    try:
        fields = json.loads(body.decode())  # from bytes, json would guess UTF-16 and let surrogates through
    except (ValueError, RecursionError) as err:  # bad UTF-8; a million brackets
        raise MessageError("message is not JSON") from err
    if not isinstance(fields, dict):
        raise MessageError(f"message is a JSON {type(fields).__name__}, an object was expected")
    if not _is_integer(fields.get("v")) or fields["v"] != VERSION:
        raise MessageError(f"message version {fields.get('v')!r:.40} is unknown; this reader knows {VERSION}")
    if fields.get("type") != "embed_batch":
        raise MessageError(f"message type {fields.get('type')!r:.40} is unknown; 'embed_batch' was expected")
    return cast("dict[str, object]", fields)


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value or not _is_unicode(value):
        raise MessageError(f"message field {name!r} is {value!r:.40}; a non-empty text was expected")
    return value


def _name(fields: dict[str, object], name: str) -> str:
    value = _text(fields, name)
    if len(value) > MAX_NAME_CHARS or not value.isprintable():
        raise MessageError(
            f"message field {name!r} is {value!r:.40}; at most {MAX_NAME_CHARS} printable characters were "
            "expected"
        )
    return value


def _is_staged(fields: dict[str, object]) -> bool:
    if "block" not in fields:
        return False
    key, expected = _text(fields, "block"), block_key(_name(fields, "job_id"), _name(fields, "path"))
    if key != expected:
        raise MessageError(f"message field 'block' is {key!r:.80}; that of this batch is {expected!r:.80}")
    return True


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
