"""Symbolic links below a folder: where each leads, and that it stays inside.

A link is resolved to a path that holds none, and that path is then opened from the folder's own descriptor
without following any. So a link that is changed in between leads nowhere, and never out.
"""

import os

from pipeline.adapters.folder.open import DENIED, GONE, Root, open_below


def resolve_below(root: Root, path: bytes) -> bytes | None:
    """Where `path` below the root leads, as a path below the root without links.

    Returns:
        None when that is outside, or nowhere. Empty for the root itself.

    Raises:
        PermissionError: a folder on the way, below the root, may not be looked at.
        OSError: the system cannot tell at the moment.
    """
    start = os.fsencode(root.path).rstrip(b"/") + b"/"
    try:
        real = root.calls.realpath(start + path, strict=True) + b"/"
    except OSError as err:
        is_outside = not os.fsencode(err.filename or b"").startswith(start)
        if err.errno in GONE or (err.errno in DENIED and is_outside):
            return None
        raise
    return real[len(start) : -1] if real.startswith(start) else None


def stat_below(root: Root, path: bytes) -> os.stat_result:
    """The entry at a path below the root. A link on the way is an error, one at the end is not followed."""
    *parents, name = path.split(b"/") if path else [b"."]
    parent = open_below(root.descriptor, parents, root.calls)
    try:
        return root.calls.stat(name, dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)
