"""How long the texts of a row may be, and which. Said of one image before it is read: found by the index, it
would be the fault of a whole batch.
"""

import json
import re
from collections.abc import Mapping

from pipeline.types import ObjectRef

MAX_PATH_BYTES = 4096  # of a key, and of a bucket that is a folder: PATH_MAX of Linux. S3 keys end at 1,024
MAX_ETAG_BYTES = 512
# One object's user metadata as ASCII JSON. S3 allows 2 KB; escaped threefold it still fits a Milvus field.
MAX_METADATA_BYTES = 20_000
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # PostgreSQL keeps no NUL, and no encoding half of a pair


def is_storable(text: str) -> bool:
    return _UNSTORABLE.search(text) is None


def misfit_of(ref: ObjectRef, metadata: Mapping[str, str]) -> str:
    """The first text that no index and ledger hold: its name, size and limit. Empty when all fit."""
    limits = (
        ("a key", ref.key, MAX_PATH_BYTES),
        ("a bucket", ref.bucket, MAX_PATH_BYTES),
        ("an ETag", ref.etag, MAX_ETAG_BYTES),
    )
    for what, text, max_bytes in limits:
        if not is_storable(text):
            return f"{what} with a character that no database keeps"
        if 4 * len(text) > max_bytes and (size := len(text.encode())) > max_bytes:  # 4: the longest character
            return f"{what} of {size} bytes is over the limit of {max_bytes}"
    return _misfit_of_metadata(metadata) if metadata else ""


def _misfit_of_metadata(metadata: Mapping[str, str]) -> str:
    if not all(map(is_storable, (*metadata, *metadata.values()))):
        return "user metadata with a character that no database keeps"
    size = len(json.dumps(dict(metadata)))
    if size > MAX_METADATA_BYTES:
        return f"user metadata of {size} bytes is over the limit of {MAX_METADATA_BYTES}"
    return ""
