"""Verification by persons: the queue, one match, what was searched with, and a decision."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.cursors import cursors_of
from pipeline.api.verification_bodies import (
    MatchBody,
    Matches,
    NewDecision,
    SearchState,
    ShownMatchBody,
)
from pipeline.service.answers import match_json, shown_match_json
from pipeline.service.probe_pictures import PicturePorts, probe_picture
from pipeline.service.verifications import (
    ShownMatch,
    decide_match,
    list_matches,
    show_match,
    states_of_search,
)

router = APIRouter(prefix="/v1", tags=["verifications"])

QUEUE = "verifications"  # the list that a cursor is of


@router.get("/verifications")
def list_queue(
    ports: Ports,
    caller: Asks,
    request: Request,
    collection: Annotated[str, Query(max_length=100)] = "",
    max_results: Annotated[int, Query(ge=1, le=1000, description="Entries of a page")] = 50,
    next_token: Annotated[str, Query(max_length=4096, description="As the page before gave it")] = "",
) -> Matches:
    """What you may decide: open matches of searches that are not yours, the oldest first."""
    cursors = cursors_of(request)
    after = _place(cursors.read(next_token, of=QUEUE)) if next_token else (-1, 0)
    found = list_matches(ports.verifying, caller, collection=collection, limit=max_results + 1, after=after)
    page = found[:max_results]
    more = cursors.sign(f"{page[-1].opened} {page[-1].rank}", of=QUEUE) if len(found) > max_results else None
    return Matches(
        verifications=[MatchBody.model_validate(match_json(match)) for match in page], next_token=more
    )


@router.get("/verifications/{match_id}")
def show(match_id: str, ports: Ports, caller: Asks) -> ShownMatchBody:
    """One match. What others decided is in it once the match is closed."""
    return _body(show_match(match_id, ports.verifying, caller))


@router.get(
    "/verifications/{match_id}/probe",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "JPEG, upright"}},
)
def probe(
    match_id: str,
    ports: Ports,
    caller: Asks,
    side_px: Annotated[int, Query(ge=16, le=1024, description="Longer side")] = 480,
    only_face: Annotated[bool, Query(description="The face that was searched for, upright")] = False,
) -> Response:
    """A small picture of what was searched with. A picture that came with a search is erased at the end."""
    with ports.decoding:
        body = probe_picture(match_id, picture_ports(ports), caller, side_px=side_px, only_face=only_face)
    return Response(body, media_type="image/jpeg", headers={"cache-control": "no-store"})


@router.post("/verifications/{match_id}/decision")
def decide(match_id: str, body: NewDecision, ports: Ports, caller: Asks) -> ShownMatchBody:
    """Say whether it is one. It cannot be changed afterwards. The same decision twice is one."""
    return _body(decide_match(match_id, body.decision, body.reason, ports.verifying, caller))


@router.get("/searches/{receipt}")
def show_search(receipt: str, ports: Ports, caller: Asks) -> SearchState:
    """How far the matches of a search are verified, for whoever searched, verifies or audits."""
    matches = states_of_search(receipt, ports.verifying, caller)
    return SearchState(
        receipt=receipt,
        collection=matches[0].collection,
        matches=[MatchBody.model_validate(match_json(match)) for match in matches],
    )


def picture_ports(ports: Backend) -> PicturePorts:
    return PicturePorts(
        verifications=ports.verifying,
        store=ports.store,
        index=ports.index,
        limits=ports.limits,
        check_object=ports.places.check_object,
    )


def _place(text: str) -> tuple[int, int]:
    opened, rank = text.split()
    return int(opened), int(rank)


def _body(shown: ShownMatch) -> ShownMatchBody:
    return ShownMatchBody.model_validate(shown_match_json(shown))
