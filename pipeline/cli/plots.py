"""Plots as SVG inside a page: lines over two axes."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 320  # px, as are the margins
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 46

STYLE = """
svg { max-width: 100%; }
svg text { fill: currentColor; font: 11px system-ui, sans-serif; }
.axis { stroke: currentColor; }
.grid { stroke: var(--line); }
.curve { fill: none; stroke: var(--ink); stroke-width: 2; }
.second { stroke: var(--other); }
"""

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """`place` turns a value into 0 to 1. `marks` are values with their words."""

    label: str
    place: Callable[[float], float]
    marks: Sequence[tuple[float, str]]


def log_axis(label: str, smallest: float) -> Axis:
    """From the power of ten below `smallest` to 1. What is smaller, as 0 is, stands at its end."""
    decades = max(1, math.ceil(-math.log10(smallest)))

    def place(share: float) -> float:
        return 1 + math.log10(max(share, 10.0**-decades)) / decades

    marks = [(10.0**-decade, f"1e-{decade}" if decade else "1") for decade in range(decades, -1, -1)]
    return Axis(label=label, place=place, marks=marks)


def share_axis(label: str) -> Axis:
    return Axis(label=label, place=lambda share: share, marks=[(n / 5, f"{n / 5:g}") for n in range(6)])


def threshold_axis(low: float, high: float) -> Axis:
    width = max(high - low, 1e-4)
    marks = [(low + width * n / 5, f"{low + width * n / 5:.2f}") for n in range(6)]
    return Axis(label="threshold (cosine)", place=lambda cosine: (cosine - low) / width, marks=marks)


def plot(across: Axis, up: Axis, curves: Iterable[Curve]) -> str:
    """An `svg` element. Its colours are those of the page that holds it, see STYLE."""

    def x(value: float) -> float:
        return LEFT + across.place(value) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - up.place(value) * (HEIGHT - TOP - BOTTOM)

    foot, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">']
    for value, words in across.marks:
        parts += [_line(x(value), foot, x(value), TOP, "grid"), _words(x(value), foot + 16, "middle", words)]
    for value, words in up.marks:
        parts += [_line(LEFT, y(value), end, y(value), "grid"), _words(LEFT - 6, y(value) + 4, "end", words)]
    parts += [_line(LEFT, foot, end, foot, "axis"), _line(LEFT, foot, LEFT, TOP, "axis")]
    parts.append(_words((LEFT + end) / 2, HEIGHT - 10, "middle", across.label))
    turned = f"translate(13 {(TOP + foot) / 2:.1f}) rotate(-90)"
    parts.append(f'<text transform="{turned}" text-anchor="middle">{escape(up.label)}</text>')
    for number, curve in enumerate(curves):
        points = " ".join(f"{x(one):.1f},{y(other):.1f}" for one, other in curve)
        parts.append(f'<polyline class="curve{" second" if number else ""}" points="{points}"/>')
    return "".join([*parts, "</svg>"])


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _words(x: float, y: float, anchor: str, words: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
