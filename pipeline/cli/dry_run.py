"""`pictor ingest --dry-run`: what a job would do, without doing it."""

from itertools import chain

from pipeline.cli.output import note, visible, warn, write_json, write_line
from pipeline.compare import Change
from pipeline.errors import ConfigError
from pipeline.ports import Deps
from pipeline.sync import Outlook, preview, refusal
from pipeline.types import CollectionInfo, JobRequest, generation_of

FIRST_KEYS = 5  # of each kind

_KINDS = {
    "new": (Change.NEW,),
    "changed": (Change.CHANGED, Change.REWRITTEN),
    "retried": (Change.AGAIN,),
    "vanished": (Change.MISSING,),
    "unchanged": (Change.UNCHANGED, Change.NOTED),
    "failed": (Change.KNOWN_FAILURE,),
    "ignored": (Change.IGNORED,),
}
_NAMED = ("new", "changed", "retried", "vanished")


def show_outlook(
    request: JobRequest,
    existing: CollectionInfo | None,
    deps: Deps,
    *,
    as_json: bool,
) -> None:
    """Print how many objects are new, changed or gone, and the first keys of each. Nothing is written.

    Raises:
        ConfigError: the collection is older than the version book, which has not been filled from it yet.
    """
    generation = generation_of(request.collection, request.fingerprint)
    if existing is not None and existing.rows and deps.ledger.book.filled_to(generation) is not None:
        raise ConfigError(
            f"collection {request.collection} was made before Pictor kept a version book; "
            f"run `pictor verify {request.collection} --repair` once, then --dry-run can tell"
        )
    outlook = preview(request, deps.store, deps.ledger.book, first=FIRST_KEYS)
    counts = {kind: sum(outlook.counts[change] for change in changes) for kind, changes in _KINDS.items()}
    keys = {kind: _first_keys(outlook, kind) for kind in _NAMED}
    refused = refusal(request, scanned=outlook.scanned, held=outlook.held, lost=outlook.lost)
    if as_json:
        write_json({**counts, "first_keys": keys, "refused": refused})
        return
    write_line(f"{request.source}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    for kind in _NAMED:
        for key in keys[kind]:
            write_line(f"  {kind}  {visible(key)}")
    if refused:
        warn(refused)
    note("This was a dry run: nothing was written.")


def _first_keys(outlook: Outlook, kind: str) -> list[str]:
    return sorted(chain.from_iterable(outlook.first_keys[change] for change in _KINDS[kind]))[:FIRST_KEYS]
