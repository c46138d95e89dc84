"""The bodies of the log on the wire."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from pipeline.reports.findings import FindingKind


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
