"""Options that several commands of `pictor audit` have, and what they ask the log for."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer

from pipeline.service.arguments import as_utc
from pipeline.types.audit import AuditKind, AuditQuery

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
Since = Annotated[datetime | None, typer.Option("--from", help="Acts that began at this time or later, UTC.")]
Until = Annotated[datetime | None, typer.Option("--to", help="Acts that began before this time, UTC.")]
Kind = Annotated[AuditKind | None, typer.Option(help="Kind of entry.")]
Person = Annotated[str, typer.Option("--actor", help="Who acted.")]
Case = Annotated[str, typer.Option(help="Case reference.")]
Purpose = Annotated[str, typer.Option(help="Code of the purpose.")]
Collection = Annotated[str, typer.Option(help="Collection that was searched or written.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the options say, as they are."""

    kind: AuditKind | None = None
    actor: str = ""
    case: str = ""
    purpose: str = ""
    collection: str = ""
    probe_sha256: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def query(self) -> AuditQuery:
        return AuditQuery(
            kind=self.kind,
            actor=self.actor,
            case_ref=self.case,
            purpose_code=self.purpose,
            collection=self.collection,
            probe_sha256=self.probe_sha256,
            since=as_utc(self.since),
            until=as_utc(self.until),
        )
