"""The log for auditors: which entries there are, and reports of them."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from pipeline import wiring_audit
from pipeline.api.audit_bodies import AuditEntries, AuditEntryBody, AuditFinding, AuditReview
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
ENTRIES = "audit entries"  # the list that a cursor is of

Text = Annotated[str, Query(max_length=MAX_TEXT_CHARS)]
Digest = Annotated[
    str, Query(pattern="^([0-9a-f]{64})?$", description="SHA-256 of a picture that was searched with")
]
ImageId = Annotated[str, Query(max_length=64)]
Time = Annotated[datetime | None, Query(description="Of the start of the act")]


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryFilters:
    """The conditions of a list of entries. All that are given must hold, but one of `probe` and `image`."""

    kind: AuditKind | None = None
    actor: Text = ""
    case: Text = ""
    purpose: Text = ""
    collection: Text = ""
    probe: Digest = ""
    image: Annotated[ImageId, Query(description="Id of a stored image that was searched with")] = ""
    candidate: Annotated[ImageId, Query(description="Id of an image that was among the hits")] = ""
    refers_to: Annotated[Text, Query(description="Id of an earlier record")] = ""
    decision: AuditOutcome | None = None
    since: Time = None
    until: Annotated[Time, Query(description="This moment is out")] = None

    @property
    def sought(self) -> Sought:
        query = AuditQuery(
            kind=self.kind,
            actor=self.actor,
            case_ref=self.case,
            purpose_code=self.purpose,
            collection=self.collection,
            refers_to=self.refers_to,
            since=as_utc(self.since),
            until=as_utc(self.until),
        )
        return Sought(
            query=query,
            outcome=self.decision,
            probe_sha256=self.probe,
            probe_image=self.image,
            candidate=self.candidate,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractFilters:
    """What an extract is confined to."""

    actor: Text = ""
    case: Text = ""
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

    A page may have fewer entries than you asked for, and yet not be the last one.
    """
    cursors = cursors_of(request)
    before = int(cursors.read(next_token, of=ENTRIES)) if next_token else None
    log = log_of(ports.answers_to.log)
    page = search_log(filters.sought, log, caller, limit=max_results, before=before)
    more = cursors.sign(str(page.before), of=ENTRIES) if page.before is not None else None
    return AuditEntries(entries=[_body(entry) for entry in page.entries], next_token=more)


@router.get(
    "/reports/{shape}",
    response_class=Response,
    responses={200: {"content": {media: {} for media in MEDIA_TYPES.values()}}},
)
def make_report(
    shape: Shape,
    ports: Ports,
    caller: Asks,
    filters: Annotated[ExtractFilters, Depends()],
    since: Time = None,
    until: Annotated[Time, Query(description="This moment is out")] = None,
    recipient: Annotated[Text, Query(description="To whom you give it. It stands in its entry")] = "",
    form: Annotated[ReportFormat, Query(alias="format")] = ReportFormat.JSON,
) -> Response:
    """What the log says of a period, as a file. Making it is an entry of its own."""
    wanted = Wanted(
        shape=shape,
        period=Period(since=as_utc(since), until=as_utc(until)),
        filters=filters.given,
        recipient=recipient,
    )
    text = write_report(audit_reports.make_report(wanted, log_of(ports.answers_to.log), caller), form)
    headers = {"content-disposition": f'attachment; filename="pictor-{shape.value}.{form.value}"'}
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
