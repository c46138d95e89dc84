"""The page that the `type` of an error leads to."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from pipeline.api.pages.rendering import render
from pipeline.api.problems import KINDS

router = APIRouter(prefix="/problems")


@router.get("")
def all_problems(request: Request) -> HTMLResponse:
    """Every error of the service."""
    return render(request, "problems.html", kinds=KINDS)


@router.get("/{code}")
def one_problem(request: Request, code: str) -> HTMLResponse:
    """One error with its meaning and its remedy."""
    if code not in KINDS:
        return render(request, "error.html", status=404, error=f"the service has no error {code!r}")
    return render(request, "problems.html", kinds={code: KINDS[code]})
