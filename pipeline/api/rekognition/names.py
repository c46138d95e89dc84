"""A CollectionId may have signs that no name of a collection has. Each becomes `_` and two hex digits."""

import re

from pipeline.errors import ArgumentError, NotFoundError
from pipeline.names import check_collection_name, shown
from pipeline.service.access import Caller

_PREFIX = "rk_id"  # of a name that was written so. A sign may come next, and two `_` in a row may not
_ARN = re.compile(r"(arn:)?aws:rekognition:[^:]*:(?P<tenant>[^:]*):collection/(?P<id>[a-zA-Z0-9_.\-]{1,255})")
_WRITTEN = re.compile(r"_([0-9a-f]{2})")
_NAMED = re.compile(rf"`[^`]*`|\b{_PREFIX}\w+")  # what stands in backticks is a command, which takes names


def collection_of(collection_id: str) -> str:
    """The name, which is the id itself wherever it can be. Raises ArgumentError: it becomes too long."""
    try:
        if not collection_id.startswith(_PREFIX):
            return check_collection_name(collection_id)
    except ArgumentError:
        pass
    written = re.sub(r"[^A-Za-z0-9]", lambda sign: f"_{ord(sign[0]):02x}", collection_id)
    return check_collection_name(_PREFIX + written)


def id_of_collection(name: str) -> str:
    if not name.startswith(_PREFIX):
        return name
    return _WRITTEN.sub(lambda digits: chr(int(digits[1], 16)), name.removeprefix(_PREFIX))


def in_ids(message: str) -> str:
    """The same message with the ids that a client knows, in the place of names that were written so."""
    return _NAMED.sub(lambda found: id_of_collection(found[0]), message)


def arn_of(collection_id: str, caller: Caller) -> str:
    """As the API has it, with the tenant in the place of an account."""
    return f"aws:rekognition:pictor:{caller.tenant}:collection/{collection_id}"


def collection_of_arn(arn: str, caller: Caller) -> str:
    """The name. Raises ArgumentError, NotFoundError: it is no ARN of a collection, or another tenant's."""
    found = _ARN.fullmatch(arn)
    if found is None:
        raise ArgumentError(
            f"ResourceArn {shown(arn)}: that of a collection is expected, as DescribeCollection tells it"
        )
    if found["tenant"] != caller.tenant:
        raise NotFoundError(f"there is no resource {shown(arn)}")
    return collection_of(found["id"])
