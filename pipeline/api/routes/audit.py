"""The log for auditors: which entries there are, and reports of them."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from pipeline import wiring_audit
from pipeline.api.audit_bodies import (
    DIGEST,
    MAX_ID_CHARS,
    AuditEntries,
    AuditEntryBody,
    AuditFinding,
    AuditReportTerms,
    AuditReview,
    AuditSearch,
)
from pipeline.api.backend import Asks, Ports
from pipeline.api.bodies import MAX_TEXT_CHARS
from pipeline.api.cursors import cursors_of
from pipeline.reports.coverage import Period
from pipeline.reports.report import Shape
from pipeline.service import audit_reports
from pipeline.service.arguments import as_utc
from pipeline.service.audit import log_of
from pipeline.service.audit_reports import ReportFormat, Wanted, write_report
from pipeline.service.audit_review import finding_json, review_log, usual_period
from pipeline.service.audit_search import MAX_PAGE_ENTRIES, Sought, entry_json, search_log
from pipeline.types.audit import AuditEntry, AuditKind, AuditOutcome, AuditQuery

router = APIRouter(prefix="/v1/audit", tags=["audit"])

MEDIA_TYPES = {
    ReportFormat.HTML: "text/html; charset=utf-8",
    ReportFormat.JSON: "application/json",
    ReportFormat.CSV: "text/csv; charset=utf-8",
}
REPORTS: dict[int | str, dict[str, Any]] = {200: {"content": {media: {} for media in MEDIA_TYPES.values()}}}
ENTRIES = "audit entries"  # the list that a cursor is of

Text = Annotated[str, Query(max_length=MAX_TEXT_CHARS)]
Time = Annotated[datetime | None, Query(description="Of the start of the act")]
# What says who or what somebody looks for. An address stands in logs of proxies (decision 0195).
IN_A_BODY = "Stands in logs of proxies. Send it in the body of the same question with POST"
Telling = Annotated[str, Query(max_length=MAX_TEXT_CHARS, deprecated=True, description=IN_A_BODY)]
TellingId = Annotated[str, Query(max_length=MAX_ID_CHARS, deprecated=True, description=IN_A_BODY)]


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryFilters:
    """The conditions of a list of entries. All that are given must hold, but one of `probe` and `image`."""

    kind: AuditKind | None = None
    actor: Telling = ""
    case: Telling = ""
    purpose: Telling = ""
    collection: Text = ""
    probe: Annotated[str, Query(pattern=DIGEST, deprecated=True, description=IN_A_BODY)] = ""
    image: TellingId = ""
    candidate: TellingId = ""
    refers_to: Annotated[Text, Query(description="Id of an earlier record")] = ""
    decision: AuditOutcome | None = None
    since: Time = None
    until: Annotated[Time, Query(description="This moment is out")] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractFilters:
    """What an extract is confined to."""

    actor: Telling = ""
    case: Telling = ""
    collection: Text = ""

    @property
    def given(self) -> dict[str, str]:
        return {name: text for name, text in asdict(self).items() if text}


@router.get("/entries")
def list_entries(
    ports: Ports,
    caller: Asks,
    request: Request,
    filters: Annotated[EntryFilters, Depends()],
    max_results: Annotated[int, Query(ge=1, le=MAX_PAGE_ENTRIES)] = 50,
    next_token: Annotated[str, Query(max_length=4096, description="As the page before gave it")] = "",
) -> AuditEntries:
    """Entries of your tenant, newest first. Each page that you ask for is an entry of its own.

    A page may have fewer entries than you asked for, and yet not be the last one. What says who you look for
    belongs into `POST /v1/audit/search`, since addresses stand in logs of proxies.
    """
    asked = AuditSearch(**asdict(filters), max_results=max_results, next_token=next_token)
    return _page(asked, ports, caller, request)


@router.post("/search")
def search_entries(ports: Ports, caller: Asks, request: Request, body: AuditSearch) -> AuditEntries:
    """Entries of your tenant, newest first. Each page that you ask for is an entry of its own.

    A page may have fewer entries than you asked for, and yet not be the last one.
    """
    return _page(body, ports, caller, request)


def _page(asked: AuditSearch, ports: Ports, caller: Asks, request: Request) -> AuditEntries:
    cursors = cursors_of(request)
    before = int(cursors.read(asked.next_token, of=ENTRIES)) if asked.next_token else None
    log = log_of(ports.answers_to.log)
    page = search_log(_sought(asked), log, caller, limit=asked.max_results, before=before)
    more = cursors.sign(str(page.before), of=ENTRIES) if page.before is not None else None
    return AuditEntries(entries=[_body(entry) for entry in page.entries], next_token=more)


def _sought(terms: AuditSearch) -> Sought:
    query = AuditQuery(
        kind=terms.kind,
        actor=terms.actor,
        case_ref=terms.case,
        purpose_code=terms.purpose,
        collection=terms.collection,
        refers_to=terms.refers_to,
        since=as_utc(terms.since),
        until=as_utc(terms.until),
    )
    return Sought(
        query=query,
        outcome=terms.decision,
        probe_sha256=terms.probe,
        probe_image=terms.image,
        candidate=terms.candidate,
    )


@router.get("/reports/{shape}", response_class=Response, responses=REPORTS)
def make_report(
    shape: Shape,
    ports: Ports,
    caller: Asks,
    filters: Annotated[ExtractFilters, Depends()],
    since: Time = None,
    until: Annotated[Time, Query(description="This moment is out")] = None,
    recipient: Telling = "",
    form: Annotated[ReportFormat, Query(alias="format")] = ReportFormat.JSON,
) -> Response:
    """What the log says of a period, as a file. Making it is an entry of its own.

    What says who it is of, or for, belongs into the body of the same with POST.
    """
    wanted = Wanted(
        shape=shape,
        period=Period(since=as_utc(since), until=as_utc(until)),
        filters=filters.given,
        recipient=recipient,
    )
    return _report(wanted, form, ports, caller)


@router.post("/reports/{shape}", response_class=Response, responses=REPORTS)
def make_report_of_body(shape: Shape, ports: Ports, caller: Asks, body: AuditReportTerms) -> Response:
    """What the log says of a period, as a file. Making it is an entry of its own."""
    wanted = Wanted(
        shape=shape,
        period=Period(since=as_utc(body.since), until=as_utc(body.until)),
        filters=ExtractFilters(actor=body.actor, case=body.case, collection=body.collection).given,
        recipient=body.recipient,
    )
    return _report(wanted, body.format, ports, caller)


def _report(wanted: Wanted, form: ReportFormat, ports: Ports, caller: Asks) -> Response:
    text = write_report(audit_reports.make_report(wanted, log_of(ports.answers_to.log), caller), form)
    headers = {"content-disposition": f'attachment; filename="pictor-{wanted.shape.value}.{form.value}"'}
    return Response(text.encode(), media_type=MEDIA_TYPES[form], headers=headers)


@router.get("/review")
def review(
    ports: Ports,
    caller: Asks,
    since: Annotated[
        Time, Query(description="30 days ago by default, where `until` is not given, too")
    ] = None,
    until: Annotated[Time, Query(description="This moment is out")] = None,
) -> AuditReview:
    """What is worth a look, by the settings `PICTOR_REVIEW_…`. Asking is an entry of its own."""
    asked = Period(since=as_utc(since), until=as_utc(until)) if since or until else usual_period()
    thresholds = wiring_audit.review_thresholds(ports.settings)
    found = review_log(asked, thresholds, log_of(ports.answers_to.log), caller)
    return AuditReview(
        tree_size=found.tree_size,
        searched=found.searched.in_period,
        findings=[AuditFinding.model_validate(finding_json(finding)) for finding in found.findings],
    )


def _body(entry: AuditEntry) -> AuditEntryBody:
    return AuditEntryBody.model_validate(entry_json(entry))
