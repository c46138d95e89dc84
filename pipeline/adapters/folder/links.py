"""Symbolic links below a folder: where each leads, and that it stays inside.

A link is resolved to a path that holds none, and that path is then opened from the folder's own descriptor
without following any. So a link that is changed in between leads nowhere, and never out.
"""

import os

from pipeline.adapters.folder.open import GONE, Root, open_below


def resolve_below(root: Root, path: bytes) -> bytes | None:
    """Where `path` below the root leads, as a path below the root without links.

    Returns:
        None when that is outside, or nowhere, or may not be known; empty for the root itself.
    """
    start = os.fsencode(root.path).rstrip(b"/") + b"/"
    try:
        real = os.path.realpath(start + path, strict=True) + b"/"
    except PermissionError:
        return None
    except OSError as err:
        if err.errno in GONE:
            return None
        raise
    return real[len(start) : -1] if real.startswith(start) else None


def stat_below(root: Root, path: bytes) -> os.stat_result:
    """The entry at a path below the root. A link on the way is an error, one at the end is not followed."""
    *parents, name = path.split(b"/") if path else [b"."]
    parent = open_below(root.descriptor, parents)
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)
