"""A report for programs."""

from dataclasses import asdict

from pipeline.reports.report import Report, Table


def report_json(report: Report) -> dict[str, object]:
    """Times are ISO 8601 in UTC. Each row is an object with the names of its columns."""
    period = report.period
    return {
        "v": 1,
        "report": report.shape.value,
        "title": report.title,
        "supports": report.supports,
        "tenant": report.tenant,
        "period": {
            "since": period.since.isoformat() if period.since else None,
            "until": period.until.isoformat() if period.until else None,
        },
        "filters": dict(report.filters),
        "made_at": report.made_at.isoformat(),
        "made_by": report.made_by,
        "software": report.software,
        "log": asdict(report.log),
        "entries": asdict(report.covered),
        "tables": {table.name: _table_json(table) for table in report.tables},
        "to_write": list(report.to_write),
    }


def _table_json(table: Table) -> dict[str, object]:
    total = dict(zip(table.columns, table.total, strict=True)) if table.total else None
    return {
        "title": table.title,
        "about": table.about,
        "rows": [dict(zip(table.columns, row, strict=True)) for row in table.rows],
        "total": total,
    }
