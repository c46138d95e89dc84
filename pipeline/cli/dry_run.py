"""`pictor ingest --dry-run`: show the changes of a job without making them."""

from collections.abc import Mapping, Sequence
from itertools import chain

from pipeline.cli.outcome import fail_if_refused
from pipeline.cli.output import note, write_json, write_line
from pipeline.ingest.compare import Change
from pipeline.ingest.sync import Outlook
from pipeline.names import visible
from pipeline.ports import Deps
from pipeline.service.access import local_caller
from pipeline.service.preview import preview_job
from pipeline.types import CollectionInfo, JobRequest

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
        typer.Exit: a job would remove nothing, since too much is gone. It would end with the same code.
        ConflictError: the collection is older than the version book, which has not been filled from it yet.
    """
    found = preview_job(request, existing, deps, local_caller(), first=FIRST_KEYS)
    outlook, refused = found.outlook, found.refused
    counts = {kind: sum(outlook.counts[change] for change in changes) for kind, changes in _KINDS.items()}
    keys = {kind: _first_keys(outlook, kind) for kind in _NAMED}
    if as_json:
        write_json({**counts, "first_keys": keys, "refused": refused})
    else:
        _write_outlook(request, counts, keys)
    fail_if_refused(refused)


def _write_outlook(request: JobRequest, counts: Mapping[str, int], keys: Mapping[str, Sequence[str]]) -> None:
    write_line(f"{request.location}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    for kind in _NAMED:
        for key in keys[kind]:
            write_line(f"  {kind}  {visible(key)}")
    note("This was a dry run: nothing was written.")


def _first_keys(outlook: Outlook, kind: str) -> list[str]:
    return sorted(chain.from_iterable(outlook.first_keys[change] for change in _KINDS[kind]))[:FIRST_KEYS]
