"""Operations on matches that persons verify."""

from pipeline.client.calls import JSON_HEADERS, Call, Pages, json_body, quoted
from pipeline.client.requests import page_of, stated_headers
from pipeline.client.results import Match, SearchState, ShownMatch, reader_of


def list_verifications(*, collection: str = "", page_items: int = 50) -> Pages[Match]:
    """Matches that you may verify, the oldest search first, for a key with the role `verifier`.

    Args:
        collection: "" for all that the key reaches.
        page_items: 1..1000, are asked for at once.
    """
    params = {"collection": collection} if collection else {}
    return Pages(
        call=lambda token: page_of("/v1/verifications", "verifications", Match, page_items, token, params)
    )


def show_verification(match_id: str) -> Call[ShownMatch]:
    """One match. What others decided is there once it is closed. Raises NotFoundError."""
    return Call(method="GET", path=match_path(match_id), read=reader_of(ShownMatch))


def probe_picture(match_id: str, *, side_px: int = 480, only_face: bool = False) -> Call[bytes]:
    """A JPEG of what was searched with.

    Args:
        side_px: of its longer side, 16..1024.
        only_face: the face that was searched for alone.
    """
    path = f"{match_path(match_id)}/probe"
    params = {"side_px": str(side_px), "only_face": str(only_face).lower()}
    return Call(method="GET", path=path, params=params, read=bytes)


def decide_verification(
    match_id: str, decision: str, *, reason: str, on_behalf_of: str = ""
) -> Call[ShownMatch]:
    """Say whether a match is one. It cannot be changed. The same decision twice is one.

    Args:
        decision: "confirm", "reject" or "cannot_tell".
        on_behalf_of: the person who decides, where that is not the holder of the key.

    Raises:
        DeniedError: it is the person's own search.
        ConflictError: it is closed, or the person has decided something else.
    """
    return Call(
        method="POST",
        path=f"{match_path(match_id)}/decision",
        headers=JSON_HEADERS | stated_headers("", "", "", "", "", on_behalf_of),
        body=json_body({"decision": decision, "reason": reason}),
        read=reader_of(ShownMatch),
    )


def show_search(receipt: str) -> Call[SearchState]:
    """How far the matches of a search are verified. Raises NotFoundError: nobody verifies them."""
    return Call(method="GET", path=f"/v1/searches/{quoted(receipt)}", read=reader_of(SearchState))


def match_path(match_id: str) -> str:
    return f"/v1/verifications/{quoted(match_id)}"
