"""Take objects out of a collection, or a whole collection away. The images themselves are not touched."""

from collections.abc import Sequence

from pipeline.names import check_bucket_or_folder, check_collection_name
from pipeline.ports import VectorIndex, VersionBook
from pipeline.ports.model_binding import find_collection
from pipeline.service.access import Caller, Role, require, require_names
from pipeline.types import CollectionInfo, generation_of, image_id_of


def delete_objects(
    bucket: str,
    keys: Sequence[str],
    *,
    collection: str,
    index: VectorIndex,
    book: VersionBook,
    caller: Caller,
) -> None:
    """Take objects out of the index and the book by key, whether or not they are in it. Safe to run twice.

    Objects that are still in their source come back with the next job.

    Raises:
        ArgumentError: no collection or bucket can have this name.
        DeniedError: the caller may not reach this collection or bucket.
        TargetError: there is no such collection.
    """
    require(caller, Role.WRITE)
    require_names(caller, collection=collection, buckets=[check_bucket_or_folder(bucket)])
    image_ids = [image_id_of(bucket, key) for key in keys]
    index.delete(check_collection_name(collection), image_ids)
    if info := index.get_collection(collection):
        book.forget(generation_of(collection, info.fingerprint), image_ids)


def drop_collection(name: str, index: VectorIndex, book: VersionBook, caller: Caller) -> CollectionInfo:
    """Delete a collection with all its vectors and its entries of the book.

    Returns:
        The deleted collection.

    Raises:
        NotFoundError: there is no such collection.
    """
    require(caller, Role.OPERATE)
    info = find_collection(name, index)
    index.drop_collection(name)
    book.forget_generation(generation_of(name, info.fingerprint))
    return info
