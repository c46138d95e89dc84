"""Compare a collection's index with its version book, and repair the differences on request."""

from pipeline.ingest.verify import Verification, verify_collection
from pipeline.ports import VectorIndex, VersionBook
from pipeline.ports.model_binding import find_collection
from pipeline.service.access import Caller, Permission, require


def verify(
    name: str, index: VectorIndex, book: VersionBook, caller: Caller, *, repair: bool, first: int
) -> Verification:
    """Args: `first` is how many ids of each kind of difference are named.

    Raises:
        NotFoundError: there is no such collection.
    """
    require(caller, Permission.OPERATE if repair else Permission.READ)
    return verify_collection(find_collection(name, index), index, book, repair=repair, first=first)
