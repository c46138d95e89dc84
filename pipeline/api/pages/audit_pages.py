"""The auditor's pages: the log with its filters, one entry with its proof, and what is worth a look.

Whoever looks leaves an entry, as by every other door.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from pipeline import wiring_audit
from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.pages.forms import FormBody, read_form
from pipeline.api.pages.rendering import render
from pipeline.api.routes import audit
from pipeline.audit.checkpoint import parse_checkpoint
from pipeline.audit.note import parse_verifier_key
from pipeline.errors import ArgumentError, PictorError
from pipeline.ports import AuditLog
from pipeline.reports.coverage import Period
from pipeline.reports.report import Shape
from pipeline.service.access import Caller
from pipeline.service.answers import http_status_of
from pipeline.service.arguments import ROW_ID, as_utc
from pipeline.service.audit import log_of, show_entry
from pipeline.service.audit_reports import ReportFormat
from pipeline.service.audit_review import review_log, usual_period
from pipeline.service.audit_search import Sought, search_log
from pipeline.service.audit_subject import SHA256, Subject, read_subject
from pipeline.types import Match
from pipeline.types.audit import AuditEntry, AuditKind, AuditOutcome, AuditQuery

router = APIRouter(prefix="/audit")

ENTRIES_SHOWN = 50
FINDINGS_ENTRIES_SHOWN = 12

NAMING = ("actor", "case", "purpose", "probe", "candidate", "subject")  # fields that stand in no address

Text = Annotated[str, Query(max_length=200)]
Line = Annotated[str, Field(max_length=200)]
Place = Annotated[str, Path(max_length=64)]


class LinkFilters(BaseModel):
    """The fields of the page that a link may have, as they are."""

    model_config = ConfigDict(frozen=True)

    kind: Line = ""
    collection: Line = ""
    decision: Line = ""
    since: Line = ""
    until: Line = ""
    refers_to: Line = ""


class Filters(LinkFilters):
    """All of them. Those that name a person, or say why somebody searched, come by a form alone."""

    actor: Line = ""
    case: Line = ""
    purpose: Line = ""
    probe: Line = ""  # a SHA-256 or the id of a stored image
    candidate: Line = ""
    subject: Line = ""  # either of them, a FaceId or `person:ID`
    before: Annotated[str, Field(max_length=18, pattern=r"^[0-9]*$")] = ""  # an index: the next page

    @property
    def given(self) -> dict[str, str]:
        """Those of the next page, which the form has beside its button."""
        return {name: text for name, text in self.model_dump(exclude={"before"}).items() if text}

    @property
    def sought(self) -> Sought:
        """Raises ArgumentError, naming the field of the page."""
        probe = self.probe.strip().lower()
        if probe and not (SHA256.fullmatch(probe) or ROW_ID.fullmatch(probe)):
            raise ArgumentError("Searched with: a SHA-256 (64 hex digits) or a stored id (32) is expected")
        query = AuditQuery(
            kind=AuditKind(self.kind) if self.kind in set(AuditKind) else None,
            actor=self.actor.strip(),
            case_ref=self.case.strip(),
            purpose_code=self.purpose.strip(),
            collection=self.collection.strip(),
            refers_to=self.refers_to.strip(),
            since=_time(self.since, of="From"),
            until=_time(self.until, of="To"),
        )
        return Sought(
            query=query,
            outcome=AuditOutcome(self.decision) if self.decision in set(AuditOutcome) else None,
            probe_sha256=probe if SHA256.fullmatch(probe) else "",
            probe_image="" if SHA256.fullmatch(probe) else probe,
            candidate=self.candidate.strip(),
            subject=read_subject(self.subject),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Elsewhere:
    """What others hold of the log: each a name and what it has."""

    size: int
    vkey: str
    witnesses: tuple[str, ...]
    witnessed: int  # entries of the newest checkpoint that witnesses signed
    second: str


@router.get("")
def log_page(
    request: Request, ports: Ports, caller: Asks, filters: Annotated[LinkFilters, Query()]
) -> HTMLResponse:
    """The newest entries, and where the log is kept besides."""
    if named := [name for name in NAMING if name in request.query_params]:
        refused = ArgumentError(f"{', '.join(named)}: enter it on the page. It stands in no address")
        return _refused(request, refused)
    return _log_page(request, ports, caller, Filters(**filters.model_dump()))


@router.post("")
def find_entries(request: Request, form: FormBody, ports: Ports, caller: Asks) -> HTMLResponse:
    """The newest entries that match, or older ones. A form, since it may name a person (decision 0165)."""
    return _log_page(request, ports, caller, read_form(form, Filters))


def _log_page(request: Request, ports: Backend, caller: Caller, filters: Filters) -> HTMLResponse:
    before = int(filters.before) if filters.before else None
    try:
        log, sought = log_of(ports.answers_to.log), filters.sought
        page = search_log(sought, log, caller, limit=ENTRIES_SHOWN, before=before)
    except PictorError as err:
        return _refused(request, err)
    return render(
        request,
        "audit.html",
        entries=[_row(entry, sought.subject, ports) for entry in page.entries],
        next=page.before,
        filters=filters,
        kinds=list(AuditKind),
        elsewhere=_elsewhere(log, ports),
        shapes=list(Shape),
        year=datetime.now(UTC).year,
    )


class ReportForm(BaseModel):
    """A report, and for whom it is."""

    since: Line = ""
    until: Line = ""
    recipient: Line = ""
    format: ReportFormat = ReportFormat.HTML


@router.post("/reports/{shape}")
def report(request: Request, shape: Shape, form: FormBody, ports: Ports, caller: Asks) -> Response:
    """A report as a file. A form, since it says for whom it is."""
    wanted = read_form(form, ReportForm)
    try:
        return audit.make_report(
            shape,
            ports,
            caller,
            audit.ExtractFilters(),
            since=_time(wanted.since, of="From"),
            until=_time(wanted.until, of="To"),
            recipient=wanted.recipient,
            form=wanted.format,
        )
    except PictorError as err:
        return _refused(request, err)


@router.get("/entries/{entry}")
def entry_page(request: Request, entry: Place, ports: Ports, caller: Asks) -> HTMLResponse:
    """One entry. The browser checks that what it shows is in the log."""
    try:
        log = log_of(ports.answers_to.log)
        found = show_entry(entry, log, caller)
    except PictorError as err:
        return _refused(request, err)
    record = json.loads(found.record) if found.record is not None else None
    shown = json.dumps(record, ensure_ascii=False, indent=2) if record else ""
    matches = _matches_of(found.record_id, record, ports) if record else {}
    return render(
        request,
        "audit_entry.html",
        entry=found,
        commitment=found.commitment.hex(),
        record=record,
        shown=shown,
        vkey=log.vkey,
        matches=matches,
    )


@router.get("/review")
def review_page(
    request: Request, ports: Ports, caller: Asks, since: Text = "", until: Text = ""
) -> HTMLResponse:
    """What is worth a look, each with links to its entries."""
    try:
        asked = Period(since=_time(since, of="From"), until=_time(until, of="To"))
        period = asked if since or until else usual_period()
        thresholds = wiring_audit.review_thresholds(ports.settings)
        found = review_log(period, thresholds, log_of(ports.answers_to.log), caller)
    except PictorError as err:
        return _refused(request, err)
    return render(
        request, "audit_review.html", found=found, thresholds=thresholds, most=FINDINGS_ENTRIES_SHOWN
    )


def _refused(request: Request, err: PictorError) -> HTMLResponse:
    return render(request, "error.html", status=http_status_of(err.code), error=str(err))


def _row(entry: AuditEntry, subject: Subject | None, ports: Backend) -> dict[str, Any]:
    record = json.loads(entry.record or b"{}")
    decision = record.get("decision", {})
    matches = _matches_of(entry.record_id, record, ports)
    return {
        "index": entry.index,
        "began": str(record.get("started_at", ""))[:19].replace("T", " "),
        "decision": decision.get("reason_code") or decision.get("outcome", ""),
        "hits": len(record.get("candidates", ())),
        "states": Counter(match.state.value for match in matches.values()),
        "parts": _parts_of(subject, record, matches) if subject and record else (),
        **entry.found_by,
    }


def _matches_of(record_id: str, record: Mapping[str, Any], ports: Backend) -> dict[int, Match]:
    """The matches of a search by their rank, as far as persons verify them."""
    if record.get("kind") != AuditKind.SEARCH or not record["details"].get("verifications"):
        return {}
    return {match.rank: match for match in ports.verifying.book.of_search(record_id)}


def _parts_of(
    subject: Subject, record: Mapping[str, Any], matches: Mapping[int, Match]
) -> tuple[tuple[str, str], ...]:
    """What the person of the question has to do with the entry, and the state of the match."""
    if record["kind"] == AuditKind.VERIFICATION:
        return (("decided on a match", record["outcome"]),)
    searched = [("searched for", "")] if subject.was_searched_with(record) else []
    shown = [
        (f"found, rank {hit['rank']}, {hit['score']:.3f} alike", _state_of(matches.get(hit["rank"])))
        for hit in subject.shown_in(record)
    ]
    return (*searched, *shown)


def _state_of(match: Match | None) -> str:
    return match.state.value if match else ""


def _elsewhere(log: AuditLog, ports: Backend) -> Elsewhere:
    cosigned = parse_checkpoint(text) if (text := log.cosigned()) else None
    lines = cosigned.note.signatures if cosigned else ()
    return Elsewhere(
        size=log.head().size,
        vkey=log.vkey,
        witnesses=tuple(line.name for line in lines if cosigned and line.name != cosigned.origin),
        witnessed=cosigned.size if cosigned else 0,
        second=_second_place(log, ports),
    )


def _second_place(log: AuditLog, ports: Backend) -> str:
    """In words, for the page."""
    if not ports.settings.audit_checkpoints:
        return "none"
    try:
        found = wiring_audit.published_checkpoints(ports.settings, parse_verifier_key(log.vkey))
    except PictorError as err:
        return f"cannot be read: {err}"
    sizes = [one.checkpoint.size for one in found]
    return f"{max(sizes)} entries" if sizes else "empty so far"


def _time(text: str, *, of: str) -> datetime | None:
    try:
        return as_utc(datetime.fromisoformat(text)) if text else None
    except ValueError:
        raise ArgumentError(f"{of}: a time such as 2026-11-27T12:00 is expected") from None
