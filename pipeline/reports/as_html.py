"""A report as one page: no script, no request to anywhere, and it prints."""

from collections.abc import Iterator, Sequence
from html import escape

from pipeline.names import visible
from pipeline.reports.report import Cell, Report, Table

WIDE = 12  # columns
STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --quiet: #5b6675; --line: #c9d0d9; --ground: #fff;
  --head: #f1f4f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7ebf0; --quiet: #9aa6b5; --line: #3d4754; --ground: #14181e; --head: #202833; }
}
* { box-sizing: border-box; }
body { background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; margin: 0 auto;
  max-width: 1200px; padding: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; }
h2 { break-after: avoid; font-size: 1.1rem; margin: 2rem 0 .4rem; }
p { color: var(--quiet); margin: .2rem 0 .6rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { border: 1px solid var(--line); overflow-wrap: break-word; padding: .25rem .5rem; text-align: left;
  vertical-align: top; }
thead th { background: var(--head); }
.facts td { overflow-wrap: anywhere; }
tbody th { font-weight: 600; }
.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
tfoot td { font-weight: 700; }
pre { border: 1px solid var(--line); font-size: .75rem; overflow-wrap: anywhere; padding: .5rem;
  white-space: pre-wrap; }
@media print {
  @page { margin: 14mm; size: A4 landscape; }
  :root { color-scheme: light; --ink: #000; --quiet: #333; --line: #888; --ground: #fff; --head: #eee; }
  body { font-size: 9pt; max-width: none; padding: 0; }
  .scroll { overflow: visible; }
  tr, pre { break-inside: avoid; }
  td { overflow-wrap: anywhere; }
  .wide { font-size: 6pt; width: 100%; }
  thead { display: table-header-group; }
  tfoot { display: table-row-group; }
}
"""


def report_html(report: Report) -> str:
    return "".join(_parts(report))


def _parts(report: Report) -> Iterator[str]:
    title = f"{report.title}: {report.period}"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(report.title)}</h1>\n<p>{escape(str(report.period))}</p>\n"
    )
    yield '<div class="scroll"><table class="facts"><tbody>\n'
    for name, value in report.facts:
        yield f'<tr><th scope="row">{escape(name)}</th>{_cell(value)}</tr>\n'
    yield "</tbody></table></div>\n"
    for table in report.tables:
        yield from _table(table)
    if report.to_write:
        items = "".join(f"<li>{escape(text)}</li>" for text in report.to_write)
        yield f"<h2>For you to write</h2>\n<p>A log cannot say these.</p>\n<ul>{items}</ul>\n"
    yield (
        "<h2>Checkpoint</h2>\n<p>The signed state of the log that this report was made from. Whoever has the "
        f"log's key can check it.</p>\n<pre>{escape(report.log.checkpoint)}</pre>\n</body>\n</html>\n"
    )


def _table(table: Table) -> Iterator[str]:
    yield f"<h2>{escape(table.title)}</h2>\n"
    if table.about:
        yield f"<p>{escape(table.about)}</p>\n"
    if not table.rows:
        yield "<p>None.</p>\n" if not table.about else ""
        return
    heads = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    width = ' class="wide"' if len(table.columns) > WIDE else ""  # smaller letters, so that it fits on paper
    yield f'<div class="scroll"><table{width}>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n'
    yield from map(_row, table.rows)
    yield "</tbody>\n"
    if table.total:
        yield f"<tfoot>{_row(table.total)}</tfoot>\n"
    yield "</table></div>\n"


def _row(cells: Sequence[Cell]) -> str:
    return f"<tr>{''.join(map(_cell, cells))}</tr>\n"


def _cell(cell: Cell) -> str:
    if isinstance(cell, str) or cell is None:
        return f"<td>{escape(visible(cell or ''))}</td>"
    return f'<td class="number">{cell:,}</td>'
