"""The bodies of the log on the wire."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from pipeline.api.bodies import MAX_TEXT_CHARS, Strict
from pipeline.reports.findings import FindingKind
from pipeline.service.audit_reports import ReportFormat
from pipeline.service.audit_search import MAX_PAGE_ENTRIES
from pipeline.types.audit import AuditKind, AuditOutcome

DIGEST = "^([0-9a-f]{64})?$"
MAX_ID_CHARS = 64  # of an image

Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
Time = Annotated[datetime | None, Field(description="Of the start of the act")]
Until = Annotated[datetime | None, Field(description="This moment is out")]


class AuditSearch(Strict):
    """The conditions of a list of entries. All that are given must hold, but one of `probe` and `image`."""

    kind: AuditKind | None = None
    actor: Text = ""
    case: Text = ""
    purpose: Text = ""
    collection: Text = ""
    probe: Annotated[
        str, Field(pattern=DIGEST, description="SHA-256 of a picture that was searched with")
    ] = ""
    image: Annotated[
        str, Field(max_length=MAX_ID_CHARS, description="Id of a stored image that was searched with")
    ] = ""
    candidate: Annotated[
        str, Field(max_length=MAX_ID_CHARS, description="Id of an image that was among the hits")
    ] = ""
    refers_to: Annotated[Text, Field(description="Id of an earlier record")] = ""
    decision: AuditOutcome | None = None
    since: Time = None
    until: Until = None
    max_results: Annotated[int, Field(ge=1, le=MAX_PAGE_ENTRIES)] = 50
    next_token: Annotated[str, Field(max_length=4096, description="As the page before gave it")] = ""


class AuditReportTerms(Strict):
    """`actor`, `case` and `collection` are what an extract is confined to."""

    actor: Text = ""
    case: Text = ""
    collection: Text = ""
    since: Time = None
    until: Until = None
    recipient: Annotated[Text, Field(description="To whom you give it. It stands in its entry")] = ""
    format: ReportFormat = ReportFormat.JSON


class LogEntry(BaseModel):
    """Salt and record are null once they were erased."""

    index: Annotated[int, Field(ge=0)]
    record_id: str
    commitment: Annotated[str, Field(description="SHA-256 over salt and record, in base64")]
    salt: Annotated[str | None, Field(description="In base64")]
    record: Annotated[str | None, Field(description="Its JSON text, byte for byte as it was committed to")]


class AuditEntryBody(BaseModel):
    """An act. `record` is left out once it was erased."""

    index: Annotated[int, Field(ge=0, description="Its place in the log")]
    record_id: str
    erased: bool
    record: dict[str, Any] | None = None


class AuditEntries(BaseModel):
    entries: list[AuditEntryBody]
    next_token: str | None = None


class AuditFinding(BaseModel):
    """What a reviewer may want to look at. Most of it has a good reason."""

    look_at: FindingKind
    person: Annotated[str, Field(description="Empty where it is about a case")]
    why: str
    count: Annotated[int, Field(ge=1, description="Of its entries")]
    entries: Annotated[list[int], Field(description="Their places in the log, the first 100 of them")]


class AuditReview(BaseModel):
    tree_size: Annotated[int, Field(description="Of the log that was looked through")]
    searched: Annotated[int, Field(description="Entries of the period")]
    findings: list[AuditFinding]
