"""What an assistant's arguments mean. They come from a model, which may have read them anywhere."""

import base64
import binascii
from pathlib import PurePosixPath

from pipeline.client import Example, Query, StoredObject, Words
from pipeline.errors import ArgumentError

MAX_IMAGE_CHARS = 14 * 2**20  # of base64: a picture of 10 MiB, and a request that the service takes


def read_query(query: str, image_base64: str, text: str = "", unwanted: str = "") -> Query:
    """The example to search with, the words, or both.

    A file is not read here. It is named to the service, which refuses every place that it may not read.

    Raises:
        ArgumentError: no picture and no text, two pictures, or one is nothing of what is expected.
    """
    if not text and not unwanted:
        return _read_picture(query, image_base64)
    picture = _read_picture(query, image_base64) if query or image_base64 else None
    return Words(text or (), unwanted=unwanted or (), picture=picture)


def _read_picture(query: str, image_base64: str) -> Example:
    if bool(query) == bool(image_base64):
        raise ArgumentError("exactly one of query and image_base64 is expected, or text")
    if image_base64:
        return _read_image(image_base64)
    path = query.removeprefix("file://")
    if path.startswith("/"):
        place = PurePosixPath(path)
        if not place.name or ".." in place.parts:
            raise ArgumentError(f"query {query[:200]}: the absolute path of a file, without .., is expected")
        return StoredObject(bucket=str(place.parent), key=place.name)
    return query


def _read_image(text: str) -> bytes:
    if len(text) > MAX_IMAGE_CHARS:
        raise ArgumentError(f"image_base64: {len(text)} characters, at most {MAX_IMAGE_CHARS} are allowed")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as err:
        raise ArgumentError("image_base64: base64 is expected") from err
