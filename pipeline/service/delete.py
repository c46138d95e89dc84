"""Take objects out of a collection, or a whole collection away. The images themselves are not touched."""

import logging
from collections.abc import Sequence
from datetime import datetime

from pipeline.errors import TargetError
from pipeline.ingest.removal import take_out
from pipeline.names import check_bucket_or_folder, check_collection_name
from pipeline.ports import Ledger, PersonBook, VectorIndex, VersionBook
from pipeline.ports.model_binding import find_collection, missing_collection
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.accountability import Accountability
from pipeline.service.act_records import enter_deletion, enter_drop
from pipeline.types import CollectionInfo, image_id_of

logger = logging.getLogger(__name__)


def delete_objects(
    bucket: str,
    keys: Sequence[str],
    *,
    collection: str,
    index: VectorIndex,
    ledger: Ledger,
    answers_to: Accountability,
    caller: Caller,
    meant_at: datetime,
    driver: str,
) -> list[str]:
    """Take objects out of the index and the book by key, whether or not they are in it. Safe to run twice.

    They leave all generations. Objects that are still in their source come back with the next job.

    Args:
        meant_at: what was planned later stays, however late this is run. The clocks are those of whoever
            asked and of those who planned.
        driver: of the jobs that may be needed afterwards: WORKERS, or whoever runs what is returned.

    Returns:
        The ids of jobs that bring in again what a newer plan had written meanwhile. Mostly none.

    Raises:
        ArgumentError: no collection or bucket can have this name.
        DeniedError: the caller may not reach this collection or bucket.
        TargetError: there is no such collection.
        AuditError: it could not be recorded. Nothing was deleted.
    """
    require(caller, Permission.WRITE)
    require_names(caller, collection=collection, buckets=[check_bucket_or_folder(bucket)])
    image_ids = [image_id_of(bucket, key) for key in keys]
    generations = index.list_generations(check_collection_name(collection))
    if not generations:
        raise TargetError(missing_collection(collection))
    enter_deletion(image_ids, collection, answers_to, caller)
    again = []
    for info in generations:
        removal = take_out(image_ids, info, index, ledger, meant_at=meant_at, driver=driver)
        if removal.kept:
            logger.info("newer than their removal", extra={"collection": collection, "objects": removal.kept})
        if removal.again:
            again.append(removal.again)
    return again


def drop_collection(
    name: str,
    index: VectorIndex,
    book: VersionBook,
    persons: PersonBook,
    answers_to: Accountability,
    caller: Caller,
) -> CollectionInfo:
    """Delete a collection with all its generations, their vectors, their entries of the book and its persons.

    Returns:
        The generation that was live.

    Raises:
        NotFoundError: there is no such collection.
        AuditError: it could not be recorded. Nothing was deleted.
    """
    require(caller, Permission.OPERATE)
    info = find_collection(name, index)
    generations = index.list_generations(name)
    enter_drop("collection", info, answers_to, caller)
    persons.forget_collection(name)  # first: once the collection is gone, nobody can drop it again
    index.drop_collection(name)
    for each in generations:
        book.forget_generation(each.ref.generation)
    return info
