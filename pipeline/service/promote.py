"""Let another generation of a collection answer searches."""

from pipeline.errors import ConflictError
from pipeline.ports import VectorIndex
from pipeline.ports.model_binding import find_by_digits
from pipeline.service.access import Caller, Permission, require
from pipeline.types import CollectionInfo


def promote_generation(
    name: str, digits: str, index: VectorIndex, caller: Caller
) -> tuple[CollectionInfo | None, CollectionInfo]:
    """Make a generation the live one. Safe to run twice. The former stays until somebody drops it.

    Args:
        digits: the beginning of its fingerprint.

    Returns:
        The former live generation, if there was one, and the new one.

    Raises:
        NotFoundError: there is no such collection or generation.
        ArgumentError: several generations begin with these digits.
        ConflictError: it is empty, and the live one is not.
    """
    require(caller, Permission.OPERATE)
    chosen, former = find_by_digits(name, digits, index), index.get_collection(name)
    if former is not None and former.rows and not chosen.rows:
        raise ConflictError(
            f"generation {chosen.fingerprint[:8]} of collection {name!r} has no rows yet: searches would "
            f"find nothing; fill it first with `pictor ingest SOURCE --collection {name} --model MODEL "
            "--new-generation`"
        )
    index.promote(chosen.ref)
    return former, chosen
