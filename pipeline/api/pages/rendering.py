"""Templates to pages. Everything that a template prints is escaped."""

from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates

from pipeline.names import visible

_TEMPLATES = Jinja2Templates(directory=Path(__file__).parent / "templates")
_TEMPLATES.env.filters["visible"] = visible  # a key may hold control characters


def render(request: Request, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    return _TEMPLATES.TemplateResponse(request, template, values, status_code=status)
