"""Delete one generation of a collection. The images themselves are not touched."""

from pipeline.errors import NotFoundError
from pipeline.ports import VectorIndex, VersionBook
from pipeline.ports.model_binding import find_by_digits, refuse_live
from pipeline.service.access import Caller, Permission, require
from pipeline.service.accountability import Accountability
from pipeline.service.act_records import enter_drop
from pipeline.types import CollectionInfo, generation_of


def find_droppable(
    name: str, digits: str, index: VectorIndex, book: VersionBook, caller: Caller
) -> CollectionInfo:
    """The generation that `drop_generation` would delete, so that somebody can be asked first.

    Raises: as `drop_generation` does.
    """
    require(caller, Permission.OPERATE)
    try:
        info = find_by_digits(name, digits, index)
    except NotFoundError:
        book.forget_generation(generation_of(name, digits))
        raise
    if info.live:
        raise refuse_live(info.ref)
    return info


def drop_generation(
    name: str,
    digits: str,
    index: VectorIndex,
    book: VersionBook,
    answers_to: Accountability,
    caller: Caller,
) -> CollectionInfo:
    """Delete its vectors, and then its entries of the book.

    A call that was cut in between is finished by the next, although that one finds no generation any more.

    Args:
        digits: the beginning of its fingerprint.

    Returns:
        The deleted generation.

    Raises:
        NotFoundError: there is no such collection or generation.
        ArgumentError: several generations begin with these digits.
        ConflictError: it is the live one.
        AuditError: it could not be recorded. Nothing was deleted.
    """
    info = find_droppable(name, digits, index, book, caller)
    enter_drop("generation", info, answers_to, caller)
    index.drop_generation(info.ref)
    book.forget_generation(info.ref.generation)
    return info
