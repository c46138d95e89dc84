"""The user who runs an embedded service: whoever has the token of its file may do what a command may do."""

import hmac

from starlette.datastructures import Headers
from starlette.types import Scope

from pipeline.api.middleware.callers import Door, person_of
from pipeline.api.request_id import request_id_of
from pipeline.service.access import Caller, local_caller

_MARK = "pictor.owner"


class OwnerDoor:
    """Lets the owner in, and leaves all others to the door behind it.

    Args:
        token: of `pipeline.running`; only this user can read it.
    """

    def __init__(self, behind: Door, *, token: str) -> None:
        self.keyring = behind.keyring
        self._behind = behind
        self._token = token.encode()

    async def caller_of(self, scope: Scope) -> Caller:
        kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(given.encode(), self._token):
            scope[_MARK] = True
            return local_caller(request_id=request_id_of(scope), on_behalf_of=person_of(Headers(scope=scope)))
        return await self._behind.caller_of(scope)


def is_owner(scope: Scope) -> bool:
    return bool(scope.get(_MARK, False))
