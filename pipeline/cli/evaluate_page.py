"""Error rates as one self-contained page: tables and plots, no script, no request to anywhere."""

from collections.abc import Iterator
from html import escape

from pipeline.cli.evaluate_sections import VERIFICATION, Section, Table, sections_of
from pipeline.cli.plots import STYLE, log_axis, plot, share_axis, threshold_axis
from pipeline.evaluation.error_rates import ErrorRates, Verification
from pipeline.names import visible

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Error rates of {title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8886; --muted: #777; --ink: #2a7de1; --other: #c0392b; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1000px; padding: 1.5rem; }}
h2 {{ font-size: 1.15rem; margin: 2rem 0 .4rem; }}
section:first-child h2 {{ font-size: 1.4rem; margin-top: 0; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; }}
th, td {{ border-bottom: 1px solid var(--line); overflow-wrap: break-word; padding: .25rem .9rem .25rem 0;
  text-align: left; vertical-align: top; }}
.plots {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
figure {{ margin: 0; }}
figcaption {{ color: var(--muted); font-size: .85rem; }}
{style}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def page_of(rates: ErrorRates) -> str:
    body = "\n".join(_section(section, rates.verification) for section in sections_of(rates))
    return PAGE.format(title=_text(rates.model.name), style=STYLE, body=body)


def _section(section: Section, verification: Verification) -> str:
    words = "".join(f"<p>{_text(sentence)}</p>" for sentence in section.words)
    plots = _plots(verification) if section.title == VERIFICATION else ""
    tables = "".join(map(_table, section.tables))
    return f"<section><h2>{_text(section.title)}</h2>{words}{plots}{tables}</section>"


def _plots(found: Verification) -> str:
    if not (found.genuine and found.impostor):
        return ""
    return f'<div class="plots">{"".join(_figures(found))}</div>'


def _figures(found: Verification) -> Iterator[str]:
    false_matches = log_axis("false match rate", 1 / found.impostor)
    misses = log_axis("false non-match rate", 1 / found.genuine)
    curve = found.curve
    yield _figure(
        "ROC: true acceptance over false acceptance",
        plot(false_matches, share_axis("1 − FNMR"), [[(at.fmr, 1 - at.fnmr) for at in curve]]),
    )
    yield _figure(
        "DET: both errors, on logarithmic axes",
        plot(false_matches, misses, [[(at.fmr, at.fnmr) for at in curve]]),
    )
    both = [[(at.threshold, at.fmr) for at in curve], [(at.threshold, at.fnmr) for at in curve]]
    yield _figure(
        "Errors by threshold: false matches in blue, false non-matches in red",
        plot(threshold_axis(curve[0].threshold, curve[-1].threshold), share_axis("share"), both),
    )


def _figure(caption: str, svg: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_text(str(cell))}</td>' for cell in row)}</tr>" for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(cell: object) -> str:
    return f"<td>{_text(str(cell))}</td>"


def _text(text: str) -> str:
    return escape(visible(text))
