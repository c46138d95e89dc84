"""`pictor audit search`: who searched for whom, when, why and with what answer."""

import json
import re
from typing import Annotated

import typer

from pipeline import wiring, wiring_audit
from pipeline.cli.audit_options import AsJson, Asked, Case, Collection, Kind, Person, Purpose, Since, Until
from pipeline.cli.output import note, warn, write_json, write_table
from pipeline.errors import PictorError
from pipeline.search.query import Object, Stored
from pipeline.search.query import Person as PersonQuery
from pipeline.service.access import local_caller
from pipeline.service.audit_search import Sought, entry_json, search_log
from pipeline.service.probes import DigestingReader
from pipeline.service.query_text import read_query
from pipeline.settings import Settings
from pipeline.types import image_id_of
from pipeline.types.audit import AuditEntry, AuditOutcome

SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def search(
    kind: Kind = None,
    actor: Person = "",
    case: Case = "",
    purpose: Purpose = "",
    collection: Collection = "",
    probe: Annotated[
        str,
        typer.Option(
            help="Who searched for this picture? A file, s3://bucket/key, a stored id or a SHA-256."
        ),
    ] = "",
    candidate: Annotated[
        str,
        typer.Option(help="Who was shown this? A stored id, s3://bucket/key or person:ID."),
    ] = "",
    decision: Annotated[AuditOutcome | None, typer.Option(help="What the policy said.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(help="Most entries.", min=1, max=1000)] = 50,
    before: Annotated[
        int | None, typer.Option(help="Only entries below this number, for the next page.", min=0)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the newest entries that match. Each question is an entry of its own.

    A picture that is stored in another size or format has another digest, so ask for each of its files.
    """
    settings = Settings.from_env()
    asked = Asked(
        kind=kind,
        actor=actor,
        case=case,
        purpose=purpose,
        collection=collection,
        since=since,
        until=until,
    )
    digest, image = _subject(probe, settings) if probe else ("", "")
    sought = Sought(
        query=asked.query,
        outcome=decision,
        probe_sha256=digest,
        probe_image=image,
        candidate=_image_id(candidate) if candidate else "",
    )
    with wiring_audit.open_audit_log(settings) as log:
        page = search_log(sought, log, local_caller(), limit=limit, before=before, scan=None)
    _print(page.entries, as_json=as_json)
    if page.before is not None:
        note(f"there may be more: --before {page.before}")


def _print(entries: tuple[AuditEntry, ...], *, as_json: bool) -> None:
    if as_json:
        for entry in entries:
            write_json(entry_json(entry))
        return
    columns = ("entry", "began", "kind", "actor", "collection", "purpose", "case", "decision", "record")
    write_table(columns, [_row(entry) for entry in entries])


def _row(entry: AuditEntry) -> tuple[object, ...]:
    record, found_by = json.loads(entry.record or b"{}"), entry.found_by
    decision = record.get("decision", {})
    return (
        entry.index,
        str(record.get("started_at", "erased"))[:19],
        *(found_by.get(name, "") for name in ("kind", "actor", "collection", "purpose_code", "case_ref")),
        decision.get("reason_code") or decision.get("outcome", ""),
        entry.record_id,
    )


def _subject(text: str, settings: Settings) -> tuple[str, str]:
    """The digest of a picture, and the id under which it is stored, as far as the text leads to them."""
    if SHA256.fullmatch(text):
        return text.lower(), ""
    query = read_query(text, locate_file=wiring.locate_file)
    if isinstance(query, Stored):
        return "", query.id
    if isinstance(query, PersonQuery):
        return "", query.text
    return _digest_of(query, settings), image_id_of(query.bucket, query.key)


def _digest_of(query: Object, settings: Settings) -> str:
    """Of the object as it is now, or "": those who searched by its place are found all the same."""
    store = DigestingReader(wiring.open_store(settings))
    try:
        store.get(store.stat(query.bucket, query.key), max_bytes=settings.max_object_bytes)
    except PictorError as err:
        warn(f"{query.text} cannot be read, so that copies of it are not found: {err}")
    return store.digests.get((query.bucket, query.key), "")


def _image_id(text: str) -> str:
    """Of a person it is the text itself. Raises ArgumentError: it is none of these."""
    query = read_query(text, locate_file=wiring.locate_file)
    if isinstance(query, PersonQuery):
        return query.text
    return query.id if isinstance(query, Stored) else image_id_of(query.bucket, query.key)
