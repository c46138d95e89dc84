"""Keys in byte order from a server that lists folder by folder, as SeaweedFS does: "a/b" before "a-b".

The cursor of a job is a key, and all later keys must come after it. So each folder is asked for by itself
and put in order here. That takes a request for each folder, and its names are held in memory.
"""

from collections.abc import Callable, Iterator, Sequence

from pipeline.types import ObjectRef

ListFolder = Callable[[str], Sequence[ObjectRef]]


def lists_by_folder(server: str) -> bool:
    """Args: `server` is the name that the service gives itself in its answers."""
    return server.startswith("SeaweedFS")


def walk_folders(list_folder: ListFolder, prefix: str, start_after: str) -> Iterator[ObjectRef]:
    """Every object whose key begins with `prefix` and lies after `start_after`, in byte order.

    Args:
        list_folder: the objects that begin with a text, and the folders that do, whose keys end in "/" and
            which have no ETag.
    """
    levels = [_in_order(list_folder, prefix)]
    while levels:
        found = next(levels[-1], None)
        if found is None:
            levels.pop()
        elif found.etag:
            if found.key > start_after:
                yield found
        elif found.key > start_after or start_after.startswith(found.key):
            levels.append(_in_order(list_folder, found.key))


def _in_order(list_folder: ListFolder, prefix: str) -> Iterator[ObjectRef]:
    # A folder's key ends in a slash, so it sorts where the keys in it do.
    found = [ref for ref in list_folder(prefix) if ref.etag or ref.key != prefix]
    return iter(sorted(found, key=lambda ref: ref.key))
