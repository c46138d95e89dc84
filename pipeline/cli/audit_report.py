"""`pictor audit report`: what the log comes to, as a page, for programs or for a spreadsheet."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import wiring_audit
from pipeline.cli.audit_options import Case, Collection, Person, Since, Until
from pipeline.cli.output import note, write_line
from pipeline.errors import ArgumentError
from pipeline.reports.coverage import Period
from pipeline.reports.report import Shape
from pipeline.service.access import local_caller
from pipeline.service.arguments import as_utc
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.evaluation.error_rates import ErrorRates
    from pipeline.service.audit_reports import ReportFormat


def report(
    shape: Annotated[
        Shape,
        typer.Argument(
            help="annual: searches by system, purpose and offence. extract: each entry, for an authority. "
            "accountability: versions, inputs, purposes, policies and error rates. usage: by key."
        ),
    ],
    year: Annotated[int | None, typer.Option(help="The period is this year.", min=1970, max=9998)] = None,
    since: Since = None,
    until: Until = None,
    actor: Person = "",
    case: Case = "",
    collection: Collection = "",
    rates: Annotated[
        Path | None,
        typer.Option(help="Error rates for an accountability report, from `pictor evaluate SOURCE --json`."),
    ] = None,
    recipient: Annotated[
        str,
        typer.Option(help="To whom you give the report. The entry of the report names them.", metavar="NAME"),
    ] = "",
    form: Annotated[
        str, typer.Option("--format", help="html, json or csv. Default: as the file is called, or json.")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="File to write. Default standard output.")] = None,
) -> None:
    """Report what the log says of a period. The report is an entry of its own."""
    from pipeline.service.audit_reports import Wanted, make_report, write_report

    filters = {"actor": actor, "case": case, "collection": collection}
    wanted = Wanted(
        shape=shape,
        period=_period(year, since, until),
        filters={name: text for name, text in filters.items() if text},
        rates=_rates(rates) if rates else None,
        recipient=recipient,
    )
    format_ = _format(form, out)
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        text = write_report(make_report(wanted, log, local_caller()), format_)
    if out is None:
        write_line(text.removesuffix("\n"))
        return
    _write(out, text)
    note(f"{shape} report written to {out}")


def _period(year: int | None, since: datetime | None, until: datetime | None) -> Period:
    if year is None:
        return Period(since=as_utc(since), until=as_utc(until))
    if since or until:
        raise ArgumentError("give --year, or --from and --to")
    return Period(since=datetime(year, 1, 1, tzinfo=UTC), until=datetime(year + 1, 1, 1, tzinfo=UTC))


def _format(text: str, out: Path | None) -> "ReportFormat":
    from pipeline.service.audit_reports import ReportFormat

    wanted = text or (out.suffix.removeprefix(".") if out else "json")
    try:
        return ReportFormat(wanted)
    except ValueError:
        known = ", ".join(ReportFormat)
        raise ArgumentError(f"format {wanted!r}: one of {known} is expected, with --format") from None


def _rates(path: Path) -> "ErrorRates":
    from pipeline.evaluation.error_rates import read_error_rates

    try:
        return read_error_rates(path.read_text("utf-8", "replace"), of=str(path))
    except OSError as err:
        raise ArgumentError(f"{path}: {err.strerror}") from err


def _write(path: Path, text: str) -> None:
    from pipeline.cli.rights import share

    try:
        path.write_text(
            text, encoding="utf-8", newline=""
        )  # the lines of a CSV end as its specification has it
    except OSError as err:
        raise ArgumentError(f"{path} cannot be written: {err.strerror}") from err
    share(path)
