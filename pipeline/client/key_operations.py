"""Operations on the keys of the service, for a key with the role `admin`."""

from collections.abc import Mapping, Sequence

from pipeline.client.calls import JSON_HEADERS, Call, json_body, new_key, nothing, quoted, read_json
from pipeline.client.results import Key, NewSecret, read_all, reader_of

EVERYTHING = ("*",)


def list_keys() -> Call[list[Key]]:
    """The keys of your tenant, newest first. No secret is among them."""
    return Call(
        method="GET",
        path="/v1/keys",
        read=lambda body: list(read_all(Key, read_json(body).get("keys"))),
    )


def show_key(key_id: str) -> Call[Key]:
    """What a key is for, and when it was used last. Raises NotFoundError."""
    return Call(method="GET", path=_key_path(key_id), read=reader_of(Key))


def create_key(
    name: str,
    *,
    roles: Sequence[str],
    collections: Sequence[str] = EVERYTHING,
    buckets: Sequence[str] = EVERYTHING,
    acts_for_others: bool = False,
    justification: Mapping[str, str] | None = None,
    expires_in_days: float | None = None,
    idempotency_key: str = "",
) -> Call[NewSecret]:
    """Make a key for your tenant. Its secret is in this answer, and nobody is shown it again.

    Args:
        roles: of admin, writer and searcher.
        collections, buckets: globs of the names that it may reach.
        acts_for_others: it may say on whose behalf it asks.
        justification: of its searches that state none: purpose, case, offence, authorisation, authority.
        expires_in_days: None for as long as your own key is valid.
        idempotency_key: the same twice makes one key. "" makes a new one for this call.

    Raises:
        ConflictError: the key was made, and the answer with its secret was lost on the way.
        DeniedError: it would reach farther than yours.
    """
    fields = {
        "name": name,
        "roles": list(roles),
        "collections": list(collections),
        "buckets": list(buckets),
        "acts_for_others": acts_for_others,
        "justification": dict(justification or {}),
        "expires_in_days": expires_in_days,
    }
    return Call(
        method="POST",
        path="/v1/keys",
        headers=JSON_HEADERS | {"idempotency-key": idempotency_key or new_key()},
        body=json_body(fields),
        read=reader_of(NewSecret),
    )


def rotate_key(key_id: str, *, overlap_hours: float = 24.0, idempotency_key: str = "") -> Call[NewSecret]:
    """Make another key of the same kind. The former stays valid for the overlap. Raises as `create_key`."""
    return Call(
        method="POST",
        path=f"{_key_path(key_id)}/rotate",
        headers=JSON_HEADERS | {"idempotency-key": idempotency_key or new_key()},
        body=json_body({"overlap_hours": overlap_hours}),
        read=reader_of(NewSecret),
    )


def revoke_key(key_id: str) -> Call[None]:
    """Within a second the key opens nothing any more. Safe to call twice. Raises NotFoundError."""
    return Call(method="DELETE", path=_key_path(key_id), read=nothing)


def _key_path(key_id: str) -> str:
    return f"/v1/keys/{quoted(key_id)}"
