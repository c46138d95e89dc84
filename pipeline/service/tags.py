"""Tags of collections: texts by which callers sort them. They decide nothing.

Each change is recorded before it is made.
"""

import unicodedata
from collections.abc import Mapping, Sequence

from pipeline.errors import ArgumentError
from pipeline.names import shown
from pipeline.ports import PersonBook, VectorIndex
from pipeline.ports.model_binding import find_collection
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.accountability import Accountability
from pipeline.service.act_records import enter_tag_change

MAX_KEY_CHARS = 128
MAX_VALUE_CHARS = 256
_SIGNS = "_.:/=+-@"
_KINDS = "LZN"  # letters, spaces and numbers of any script
_RESERVED = "aws:"


def list_tags(collection: str, index: VectorIndex, book: PersonBook, caller: Caller) -> Mapping[str, str]:
    """By key. Raises NotFoundError: there is no such collection."""
    require(caller, Permission.READ)
    require_names(caller, collection=collection)
    return book.tags(find_collection(collection, index).name)


def set_tags(
    collection: str,
    tags: Mapping[str, str],
    index: VectorIndex,
    book: PersonBook,
    answers_to: Accountability,
    caller: Caller,
) -> None:
    """Add tags, or change those of the same key. Safe to run twice.

    Raises:
        ArgumentError: no tag.
        NotFoundError: there is no such collection.
        LimitError: it would have more than 200. None was set.
        AuditError: it could not be recorded. None was set.
    """
    require(caller, Permission.WRITE)
    require_names(caller, collection=collection)
    check_tags(tags)
    info = find_collection(collection, index)
    enter_tag_change("tagged", {"tags": dict(tags)}, info, answers_to, caller)
    book.set_tags(info.name, tags)


def remove_tags(
    collection: str,
    keys: Sequence[str],
    index: VectorIndex,
    book: PersonBook,
    answers_to: Accountability,
    caller: Caller,
) -> None:
    """Those that are not there are no error.

    Raises:
        NotFoundError: there is no such collection.
        AuditError: it could not be recorded. None was removed.
    """
    require(caller, Permission.WRITE)
    require_names(caller, collection=collection)
    info = find_collection(collection, index)
    enter_tag_change("untagged", {"keys": list(keys)}, info, answers_to, caller)
    book.remove_tags(info.name, keys)


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises ArgumentError: a key or a value that no tag can have."""
    for key, value in tags.items():
        if not key or key.startswith(_RESERVED):
            raise ArgumentError(f"tag key {shown(key)}: one that does not begin with {_RESERVED} is expected")
        for what, text, most in (("key", key, MAX_KEY_CHARS), ("value", value, MAX_VALUE_CHARS)):
            if len(text) > most or not all(map(_is_allowed, text)):
                raise ArgumentError(
                    f"tag {what} {shown(text)}: at most {most} letters, digits, spaces and "
                    f"{' '.join(_SIGNS)} are expected"
                )


def _is_allowed(sign: str) -> bool:
    return sign in _SIGNS or unicodedata.category(sign)[0] in _KINDS
