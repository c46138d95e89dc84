"""The id of a face as clients of Rekognition know it: a UUID that says which row it is, without a table.

A row is a view of an image, and its id is 128 bits and a number up to 99. The UUID of the first view is the
id of the image. That of each other one is turned by a mask of its number. Who looks for a face asks for the
hundred rows that it could be, of which one is there.
"""

import hashlib
import uuid

from pipeline.ports.image_rows import MAX_VIEWS, image_id_of_row, view_row_id


def face_id_of(row_id: str) -> str:
    _, _, place = row_id.partition(":")
    return str(uuid.UUID(int=int(image_id_of_row(row_id), 16) ^ _MASKS[int(place or 0)]))


def rows_that_may_be(face_id: str) -> list[str]:
    """Ids of rows, one for each number. Raises ValueError: no UUID."""
    bits = uuid.UUID(face_id).int
    return [view_row_id(f"{bits ^ mask:032x}", place) for place, mask in enumerate(_MASKS)]


def likely_row_of(face_id: str) -> str:
    """The id of its row if it is the first of its image, as nearly all are. Raises ValueError: no UUID."""
    return rows_that_may_be(face_id)[0]


_MASKS = (
    0,
    *(int(hashlib.sha256(f"face {place}".encode()).hexdigest()[:32], 16) for place in range(1, MAX_VIEWS)),
)
