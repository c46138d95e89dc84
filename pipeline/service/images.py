"""One stored image: look at it, take it out of the index."""

from datetime import UTC, datetime

from pipeline.errors import ArgumentError, NotFoundError
from pipeline.ports import Ledger, VectorIndex
from pipeline.ports.model_binding import find_collection
from pipeline.service.access import Caller, Permission, require
from pipeline.service.accountability import Accountability
from pipeline.service.arguments import ROW_ID
from pipeline.service.delete import delete_objects
from pipeline.types import IndexRow


def show_image(image_id: str, collection: str, index: VectorIndex, caller: Caller) -> IndexRow:
    """The row of an image, or the first one of an image of several faces.

    Raises:
        ArgumentError: no id.
        NotFoundError: no such collection, or no such image in it.
    """
    require(caller, Permission.READ)
    if not ROW_ID.fullmatch(image_id):
        raise ArgumentError(f"image id {image_id[:80]!r}: 32 hex digits are expected")
    live = find_collection(collection, index).ref
    for latest in (False, True):  # the second look costs more, and sees rows of the last seconds
        if rows := index.get_rows(live, [image_id], latest=latest):
            return rows[0]
    if faces := index.get_images(live, [image_id]).get(image_id):
        return faces[0]
    raise NotFoundError(f"no image {image_id} in collection {collection}")


def remove_image(
    image_id: str,
    collection: str,
    index: VectorIndex,
    ledger: Ledger,
    answers_to: Accountability,
    caller: Caller,
    *,
    driver: str,
) -> list[str]:
    """Take one image out of the index and the book.

    Args:
        driver: see `delete_objects`.

    Returns:
        Jobs for that driver, as `delete_objects` does.

    Raises:
        NotFoundError: it is not there.
        AuditError: it could not be recorded. Nothing was deleted.
    """
    require(caller, Permission.WRITE)
    row = show_image(image_id, collection, index, caller)
    return delete_objects(
        row.ref.bucket,
        [row.ref.key],
        collection=collection,
        index=index,
        ledger=ledger,
        answers_to=answers_to,
        caller=caller,
        meant_at=datetime.now(UTC),
        driver=driver,
    )
