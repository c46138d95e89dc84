"""Operations on the transparency log."""

import hashlib
from datetime import datetime
from pathlib import Path

from pipeline.client.calls import JSON_HEADERS, Call, Pages, json_body, quoted
from pipeline.client.queries import picture_of
from pipeline.client.requests import sent_page_of
from pipeline.client.results import AuditEntry, Review, reader_of


def search_audit(
    *,
    kind: str = "",
    actor: str = "",
    case: str = "",
    purpose: str = "",
    collection: str = "",
    probe: Path | bytes | str = "",
    image: str = "",
    candidate: str = "",
    decision: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    page_items: int = 100,
) -> Pages[AuditEntry]:
    """Entries of the log, newest first, for a key with the role `auditor`. Each page is an entry of its own.

    Args:
        probe: a picture that was searched with, or its SHA-256 in hex. A picture is not sent.
        image: the id of a stored image that was searched with. Given with `probe`, one of the two must hold.
        candidate: the id of an image that was among the hits.
        decision: "allowed" or "refused".
        since, until: by the start of the act; `until` is out.
    """
    given = {
        "kind": kind,
        "actor": actor,
        "case": case,
        "purpose": purpose,
        "collection": collection,
        "probe": probe if isinstance(probe, str) else hashlib.sha256(picture_of(probe)).hexdigest(),
        "image": image,
        "candidate": candidate,
        "decision": decision,
        "since": since.isoformat() if since else "",
        "until": until.isoformat() if until else "",
    }
    terms = {name: text for name, text in given.items() if text}
    return Pages(
        call=lambda token: sent_page_of("/v1/audit/search", "entries", AuditEntry, page_items, token, terms)
    )


def audit_report(
    shape: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    format: str = "json",  # noqa: A002 - the service's word
    actor: str = "",
    case: str = "",
    collection: str = "",
    recipient: str = "",
) -> Call[bytes]:
    """A file with what the log says of a period, for a key with the role `auditor`. An entry of its own.

    Args:
        shape: "annual", "extract", "accountability" or "usage".
        since, until: by the start of the act; `until` is out.
        format: "html", "json" or "csv".
        actor, case, collection: what an extract is confined to.
        recipient: to whom you give it.
    """
    given = {
        "since": since.isoformat() if since else "",
        "until": until.isoformat() if until else "",
        "format": format,
        "actor": actor,
        "case": case,
        "collection": collection,
        "recipient": recipient,
    }
    return Call(
        method="POST",
        path=f"/v1/audit/reports/{quoted(shape)}",
        headers=JSON_HEADERS,
        body=json_body({name: text for name, text in given.items() if text}),
        read=bytes,
    )


def audit_review(*, since: datetime | None = None, until: datetime | None = None) -> Call[Review]:
    """What is worth a look in the log, for a key with the role `auditor`. An entry of its own.

    Args:
        since, until: by the start of the act; `until` is out. By default the last 30 days.
    """
    given = {"since": since, "until": until}
    params = {name: moment.isoformat() for name, moment in given.items() if moment}
    return Call(method="GET", path="/v1/audit/review", params=params, read=reader_of(Review))
