"""Take objects out of a collection, or a whole collection away. The images themselves are not touched."""

from collections.abc import Sequence

from pipeline.model_binding import find_collection
from pipeline.ports import VectorIndex
from pipeline.service.access import Caller, Role, require
from pipeline.settings import check_collection_name
from pipeline.types import CollectionInfo, image_id_of


def delete_objects(
    bucket: str, keys: Sequence[str], *, collection: str, index: VectorIndex, caller: Caller
) -> None:
    """Take objects out of the index by key, whether or not they are in it. Safe to run twice.

    Raises:
        ArgumentError: no collection can have this name.
        TargetError: there is no such collection.
    """
    require(caller, Role.WRITE)
    index.delete(check_collection_name(collection), [image_id_of(bucket, key) for key in keys])


def drop_collection(name: str, index: VectorIndex, caller: Caller) -> CollectionInfo:
    """Delete a collection and all its vectors.

    Returns:
        What it was.

    Raises:
        NotFoundError: there is no such collection.
    """
    require(caller, Role.OPERATE)
    info = find_collection(name, index)
    index.drop_collection(name)
    return info
