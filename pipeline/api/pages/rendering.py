"""Templates to pages. Everything that a template prints is escaped."""

from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates

from pipeline.api.middleware.callers import caller_of
from pipeline.errors import UnknownCallerError
from pipeline.names import visible
from pipeline.service.access import Permission

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
    may = _permissions(request)
    shown = values | {
        "may_audit": Permission.AUDIT in may,
        "may_search": Permission.SEARCH in may,
        "may_verify": Permission.VERIFY in may,
    }
    return _TEMPLATES.TemplateResponse(request, template, shown, status_code=status)


def _permissions(request: Request) -> frozenset[Permission]:
    """Of the caller, where one is known: a link that leads to a refusal is not shown."""
    try:
        return caller_of(request.scope).permissions
    except UnknownCallerError:
        return frozenset()
