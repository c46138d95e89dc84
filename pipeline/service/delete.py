"""Take objects out of a collection, or a whole collection away. The images themselves are not touched."""

import logging
from collections.abc import Sequence
from datetime import datetime

from pipeline.errors import TargetError
from pipeline.ingest.removal import take_out
from pipeline.names import check_bucket_or_folder, check_collection_name
from pipeline.ports import Ledger, VectorIndex, VersionBook
from pipeline.ports.model_binding import find_collection, missing_collection
from pipeline.service.access import Caller, Role, require, require_names
from pipeline.types import CollectionInfo, generation_of, image_id_of

logger = logging.getLogger(__name__)


def delete_objects(
    bucket: str,
    keys: Sequence[str],
    *,
    collection: str,
    index: VectorIndex,
    ledger: Ledger,
    caller: Caller,
    meant_at: datetime,
) -> None:
    """Take objects out of the index and the book by key, whether or not they are in it. Safe to run twice.

    Objects that are still in their source come back with the next job.

    Args:
        meant_at: what was planned later stays, however late this is run. The clocks are those of whoever
            asked and of those who planned.

    Raises:
        ArgumentError: no collection or bucket can have this name.
        DeniedError: the caller may not reach this collection or bucket.
        TargetError: there is no such collection.
    """
    require(caller, Role.WRITE)
    require_names(caller, collection=collection, buckets=[check_bucket_or_folder(bucket)])
    info = index.get_collection(check_collection_name(collection))
    if info is None:
        raise TargetError(missing_collection(collection))
    image_ids = [image_id_of(bucket, key) for key in keys]
    if kept := take_out(image_ids, info, index, ledger, meant_at=meant_at):
        logger.info("newer than their removal", extra={"collection": collection, "objects": kept})


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
