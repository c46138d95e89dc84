"""The user who runs an embedded service: whoever has the token of its file may do what a command may do."""

import hmac
from collections.abc import Sequence

from fastapi import Request

from pipeline.api.places import Places
from pipeline.location import Location


class AllPlaces(Places):
    """For a caller who may read all that the service may: the same user could run the command without it."""

    def __init__(self) -> None:
        super().__init__((), _no_places)

    def check_location(self, wanted: Location) -> Location:
        return wanted

    def check_object(self, bucket: str, key: str) -> None:
        pass


ALL_PLACES = AllPlaces()


def is_owner(request: Request) -> bool:
    """Whether the request bears the token of this service. One without a token has no owner."""
    token: str = request.app.state.owner_token
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    return bool(token) and kind.lower() == "bearer" and hmac.compare_digest(given.encode(), token.encode())


def _no_places() -> Sequence[Location]:
    return ()
