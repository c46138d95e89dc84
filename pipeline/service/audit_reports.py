"""Reports of the log. Making one is an entry of its own."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import assert_never

from pipeline.audit.checkpoint import parse_checkpoint
from pipeline.errors import ArgumentError, ConflictError
from pipeline.evaluation.error_rates import ErrorRates
from pipeline.ports import AuditLog
from pipeline.reports import accountability, annual, extract, usage
from pipeline.reports.acts import Act
from pipeline.reports.as_csv import report_csv
from pipeline.reports.as_html import report_html
from pipeline.reports.as_json import report_json
from pipeline.reports.coverage import Coverage, Period, acts_of
from pipeline.reports.report import LogState, Report, Shape, Table
from pipeline.service.access import ALL_TENANTS, Caller, Permission, require
from pipeline.service.audit_entries import record_of, software_version
from pipeline.service.audit_search import enter, is_seen, said_of
from pipeline.types.audit import AuditKind, TreeHead

TEXTS = {
    Shape.ANNUAL: (annual.TITLE, annual.SUPPORTS, annual.TO_WRITE),
    Shape.EXTRACT: (extract.TITLE, extract.SUPPORTS, ()),
    Shape.ACCOUNTABILITY: (accountability.TITLE, accountability.SUPPORTS, accountability.TO_WRITE),
    Shape.USAGE: (usage.TITLE, usage.SUPPORTS, ()),
}


class ReportFormat(StrEnum):
    HTML = "html"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """`filters` confine an extract: `actor`, `case` and `collection`. `rates` are for accountability.

    `recipient` is to whom the report is disclosed. It stands in the entry about it.
    """

    shape: Shape
    period: Period = field(default_factory=Period)
    filters: Mapping[str, str] = field(default_factory=dict)
    rates: ErrorRates | None = None
    recipient: str = ""


def make_report(wanted: Wanted, log: AuditLog, caller: Caller) -> Report:
    """Read the log up to its newest checkpoint. The entry about the report comes after that.

    Raises:
        ArgumentError: the period ends before it begins, an option is not of this shape, or an extract would
            be too long.
        AuditError: the report could not be recorded, so there is none.
        ConflictError: the log is empty.
    """
    require(caller, Permission.AUDIT)
    _check(wanted)
    head = log.head()
    if not head.size:
        raise ConflictError("the log has no entry yet, so there is nothing to report")
    _record(wanted, log, caller)
    covered = Coverage()
    acts = acts_of(
        log.entries(end=head.size), wanted.period, covered, is_seen=lambda entry: is_seen(entry, caller)
    )
    tables = _tables(wanted, acts)
    title, supports, to_write = TEXTS[wanted.shape]
    return Report(
        shape=wanted.shape,
        title=title,
        supports=supports,
        tenant="all" if caller.tenant == ALL_TENANTS else caller.tenant,
        period=wanted.period,
        made_at=datetime.now(UTC),
        made_by=caller.who,
        software=software_version(),
        log=_state(head),
        covered=covered,
        tables=tables,
        filters=wanted.filters,
        to_write=to_write,
    )


def write_report(report: Report, form: ReportFormat) -> str:
    match form:
        case ReportFormat.HTML:
            return report_html(report)
        case ReportFormat.JSON:
            return json.dumps(report_json(report), ensure_ascii=False, indent=1) + "\n"
        case ReportFormat.CSV:
            return report_csv(report)
        case _:
            assert_never(form)


def _tables(wanted: Wanted, acts: Iterable[tuple[Act, bool]]) -> Sequence[Table]:
    match wanted.shape:
        case Shape.ANNUAL:
            return annual.annual_tables(acts)
        case Shape.EXTRACT:
            return extract.extract_tables(acts, wanted=wanted.filters)
        case Shape.ACCOUNTABILITY:
            return accountability.accountability_tables(acts, rates=wanted.rates)
        case Shape.USAGE:
            return usage.usage_tables(acts)
        case _:
            assert_never(wanted.shape)


def _check(wanted: Wanted) -> None:
    since, until = wanted.period.since, wanted.period.until
    if since and until and until <= since:
        raise ArgumentError(f"the period ends at {until}, before it begins at {since}")
    if wanted.filters and wanted.shape is not Shape.EXTRACT:
        raise ArgumentError(f"{', '.join(wanted.filters)}: only an extract can be confined to these")
    if wanted.rates and wanted.shape is not Shape.ACCOUNTABILITY:
        raise ArgumentError("error rates belong to an accountability report alone")


def _record(wanted: Wanted, log: AuditLog, caller: Caller) -> None:
    details = {"report": wanted.shape.value, "query": said_of({**asdict(wanted.period), **wanted.filters})}
    recipients = (wanted.recipient,) if wanted.recipient else ()
    enter(log, record_of(AuditKind.EXPORT, caller, details=details, recipients=recipients))


def _state(head: TreeHead) -> LogState:
    return LogState(
        origin=parse_checkpoint(head.checkpoint).origin,
        size=head.size,
        root=base64.b64encode(head.root).decode(),
        checkpoint=head.checkpoint,
    )
