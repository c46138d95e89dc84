"""Count the changes that a job would make, without making them."""

from dataclasses import dataclass

from pipeline.errors import ConflictError
from pipeline.ingest.sync import Outlook, preview, refusal
from pipeline.ports import Deps, VersionBook
from pipeline.service.access import Caller, Permission, require
from pipeline.types import CollectionInfo, JobRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """`refused` says why the job would remove nothing, or is empty."""

    outlook: Outlook
    refused: str


def preview_job(
    request: JobRequest, existing: CollectionInfo | None, deps: Deps, caller: Caller, *, first: int
) -> Preview:
    """Compare a source with the version book. Nothing is written.

    Args:
        existing: the generation, if it is there.
        first: how many keys of each kind are named.

    Raises:
        ConflictError: the collection is older than the version book, which has not been filled from it yet.
    """
    require(caller, Permission.READ)
    check_book(request, existing, deps.ledger.book)
    outlook = preview(request, deps.store, deps.ledger.book, first=first)
    refused = refusal(request, scanned=outlook.scanned, held=outlook.held, lost=outlook.lost)
    return Preview(outlook=outlook, refused=refused)


def check_book(request: JobRequest, existing: CollectionInfo | None, book: VersionBook) -> None:
    """Raises ConflictError: the book does not know yet what the collection has."""
    is_filled = existing is None or not existing.rows or book.filled_to(request.target.generation) is None
    if not is_filled:
        raise ConflictError(
            f"collection {request.collection} was made before Pictor kept a version book; "
            f"run `pictor verify {request.collection} --repair` once, then this can be told"
        )
