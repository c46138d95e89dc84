"""The page on which persons verify: the queue, a picture and a candidate side by side, and a decision."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.pages.rendering import render
from pipeline.errors import ArgumentError, NotFoundError, PictorError
from pipeline.service.access import Caller
from pipeline.service.answers import http_status_of
from pipeline.service.images import show_image
from pipeline.service.verifications import (
    MAX_REASON_CHARS,
    ShownMatch,
    decide_match,
    list_matches,
    show_match,
)
from pipeline.types import FacePlace, IndexRow, Match, MatchDecision, place_of

router = APIRouter()

MATCHES_SHOWN = 30  # of the queue; those behind come up as these are decided

Name = Annotated[str, Query(max_length=100)]
MatchId = Annotated[str, Query(max_length=64)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """What a person may decide, and which of it is in front of them."""

    collection: str
    matches: list[Match]
    chosen: ShownMatch | None
    candidate: IndexRow | None  # None where the image is not in the collection any more

    @property
    def candidate_face(self) -> FacePlace | None:
        row = self.candidate
        return place_of(row.metadata, width=row.width, height=row.height) if row else None

    def link_to(self, match_id: str) -> str:
        given = {"collection": self.collection, "match": match_id}
        return f"/verify?{urlencode({name: value for name, value in given.items() if value})}"

    def beside(self, by: int) -> str:
        """The address of the match before or after the chosen one; or ""."""
        ids = [match.match_id for match in self.matches]
        chosen = self.chosen.match.match_id if self.chosen else ""
        place = ids.index(chosen) + by if chosen in ids else -1
        return self.link_to(ids[place]) if 0 <= place < len(ids) else ""


@router.get("/verify")
def verify_page(
    request: Request,
    ports: Ports,
    caller: Asks,
    collection: Name = "",
    match: MatchId = "",
    done: MatchId = "",
) -> HTMLResponse:
    """The first match of the queue, or the one that the link names. `done` was decided just now."""
    try:
        queue = _queue(collection, match, ports, caller)
        decided = show_match(done, ports.verifying, caller) if done else None
    except PictorError as err:
        return render(request, "error.html", status=http_status_of(err.code), error=str(err))
    return _page(request, queue, decided=decided)


@router.post("/verify")
def decide(
    request: Request,
    ports: Ports,
    caller: Asks,
    form: Annotated[bytes, Body(media_type="application/x-www-form-urlencoded", max_length=16_384)],
) -> Response:
    """Enter a decision, and go on to the next match."""
    fields = parse_qs(form.decode("utf-8", "replace"))
    collection, match_id = _field(fields, "collection"), _field(fields, "match")
    said, reason = _field(fields, "decision"), _field(fields, "reason")
    try:
        decide_match(match_id, _decision(said), reason, ports.verifying, caller)
    except PictorError as err:
        status, error = http_status_of(err.code), str(err)
        try:
            queue = _queue(collection, match_id, ports, caller)
        except PictorError:
            return render(request, "error.html", status=status, error=error)
        return _page(request, queue, status=status, error=error, said=said, reason=reason)
    following = {name: value for name, value in {"collection": collection, "done": match_id}.items() if value}
    return RedirectResponse(f"/verify?{urlencode(following)}", status_code=303)


def _queue(collection: str, match_id: str, ports: Backend, caller: Caller) -> Queue:
    found = list_matches(ports.verifying, caller, collection=collection, limit=MATCHES_SHOWN)
    wanted = match_id or (found[0].match_id if found else "")
    chosen = show_match(wanted, ports.verifying, caller) if wanted else None
    candidate = _candidate(chosen.match, ports, caller) if chosen else None
    return Queue(collection=collection, matches=found, chosen=chosen, candidate=candidate)


def _candidate(match: Match, ports: Backend, caller: Caller) -> IndexRow | None:
    try:
        return show_image(match.candidate_id, match.collection, ports.index, caller)
    except (ArgumentError, NotFoundError):
        return None


def _page(
    request: Request,
    queue: Queue,
    *,
    status: int = 200,
    error: str = "",
    said: str = "",
    reason: str = "",
    decided: ShownMatch | None = None,
) -> HTMLResponse:
    return render(
        request,
        "verify.html",
        status=status,
        queue=queue,
        error=error,
        said=said,
        reason=reason,
        decided=decided,
        max_reason_chars=MAX_REASON_CHARS,
    )


def _decision(text: str) -> MatchDecision:
    try:
        return MatchDecision(text)
    except ValueError:
        raise ArgumentError("choose one of: it is the same, it is another, you cannot tell") from None


def _field(fields: dict[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[0]
