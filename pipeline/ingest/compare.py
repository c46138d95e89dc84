"""The listing against the version book: two streams in the same order of keys, merged in constant memory.

A job finds only its own keys missing, those under its bucket and prefix that its own filters
choose. A key that is listed but not chosen is ignored, whatever the book has of it. So are other sources.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from pipeline.ingest.selection import Selection, selection_of
from pipeline.types import LASTING_REASONS, JobRequest, ObjectRef, VersionEntry, VersionState


class Change(Enum):
    NEW = auto()
    CHANGED = auto()  # another version than the book has
    REWRITTEN = auto()  # the same bytes, written again since or never reported: metadata may be new
    AGAIN = auto()  # this version failed, and is to be tried again
    UNCHANGED = auto()
    NOTED = auto()  # unchanged, but the book has to learn something
    KNOWN_FAILURE = auto()
    IGNORED = auto()  # listed and not chosen
    MISSING = auto()  # in the book and not listed
    KEPT = auto()  # in the book, not listed, and not this job's to remove


@dataclass(frozen=True, slots=True)
class Compared:
    """`ref` is as listed. For missing and kept objects, it is as the book has it."""

    change: Change
    ref: ObjectRef
    entry: VersionEntry | None

    @property
    def is_held(self) -> bool:
        """Whether the book has rows of it in the index."""
        return self.entry is not None and self.entry.vectors > 0


def compare_versions(
    refs: Iterable[ObjectRef], entries: Iterator[VersionEntry], request: JobRequest
) -> Iterator[Compared]:
    """Both in byte order of the key, from the same cursor on. Keys come out in that order, each once."""
    selection = selection_of(request.include, request.exclude)
    entry = next(entries, None)
    unread = "\0"  # the last folder that could not be read. Its files are not missing
    for ref in refs:
        while entry is not None and entry.ref.key < ref.key:
            yield _unlisted(entry, selection, request, unread)
            entry = next(entries, None)
        found = entry if entry is not None and entry.ref.key == ref.key else None
        if found is not None:
            entry = next(entries, None)
        if not ref.etag and ref.key.endswith("/"):
            unread = ref.key
        yield _listed(ref, found, selection, request)
    while entry is not None:
        yield _unlisted(entry, selection, request, unread)
        entry = next(entries, None)


def _listed(
    ref: ObjectRef, entry: VersionEntry | None, selection: Selection, request: JobRequest
) -> Compared:
    if not selection.wants(ref):
        return Compared(Change.IGNORED, ref, entry)
    if entry is None:
        return Compared(Change.NEW, ref, None)
    return Compared(_change(ref, entry, request), ref, entry)


def _change(ref: ObjectRef, entry: VersionEntry, request: JobRequest) -> Change:
    if entry.state is VersionState.REMOVED:
        return Change.REWRITTEN  # for some seconds, a look into the index may still show the rows that went
    if not ref.etag or entry.ref != ref:
        return Change.CHANGED  # without an ETag, no two versions can be called the same
    if entry.state is VersionState.PLANNED:
        # A row that was written and never reported may have the metadata of an earlier write of these bytes.
        return Change.CHANGED if ref.modified_ms is None else Change.REWRITTEN
    if entry.state is VersionState.FAILED:
        again = request.retry_failed or entry.reason not in LASTING_REASONS
        return Change.AGAIN if again else Change.KNOWN_FAILURE
    if None not in (ref.modified_ms, entry.ref.modified_ms) and ref.modified_ms != entry.ref.modified_ms:
        return Change.REWRITTEN
    is_news = entry.missing_in or ref.modified_ms != entry.ref.modified_ms
    return Change.NOTED if is_news else Change.UNCHANGED


def _unlisted(entry: VersionEntry, selection: Selection, request: JobRequest, unread: str) -> Compared:
    if entry.state is VersionState.REMOVED:
        return Compared(Change.KEPT, entry.ref, entry)
    kept = request.keep_missing or entry.ref.key.startswith(unread) or not selection.wants(entry.ref)
    return Compared(Change.KEPT if kept else Change.MISSING, entry.ref, entry)
