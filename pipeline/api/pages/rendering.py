"""Templates to pages. Everything that a template prints is escaped."""

from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates

from pipeline.names import visible

_TEMPLATES = Jinja2Templates(directory=Path(__file__).parent / "templates")
_TEMPLATES.env.filters["visible"] = visible  # a key may hold control characters


def duration(seconds: float) -> str:
    """About how long, for people."""
    for unit, length_s in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


_TEMPLATES.env.filters["duration"] = duration


def render(request: Request, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    return _TEMPLATES.TemplateResponse(request, template, values, status_code=status)
