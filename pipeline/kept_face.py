"""The key of a picture that is kept for one of its faces: it says which one."""

import re

from pipeline.types import Box

_SIDES = re.compile(r"/faces/[^/]+/[0-9a-f]{64}/(\d{1,9})-(\d{1,9})-(\d{1,9})-(\d{1,9})$")


def key_of_face(folder: str, digest: str, box: Box) -> str:
    """Args: `folder` ends in "/faces/COLLECTION/". `digest` is in hex, of what makes the request the same."""
    return f"{folder}{digest}/{box.left}-{box.top}-{box.width}-{box.height}"


def box_of_key(key: str) -> Box | None:
    """The box of the face, px of the upright picture. None for any other key."""
    found = _SIDES.search(key)
    if found is None:
        return None
    left, top, width, height = map(int, found.groups())
    return Box(left=left, top=top, width=width, height=height)
