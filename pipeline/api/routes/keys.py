"""Keys: make, list, revoke, rotate. An admin sees those of the own tenant."""

from datetime import timedelta

from fastapi import APIRouter, Response

from pipeline.api.backend import Asks, Ports
from pipeline.api.idempotency import TAKES_KEY
from pipeline.api.key_bodies import Key, Keys, NewKey, NewSecret, Rotation
from pipeline.api.stated import justification_of
from pipeline.service import keys
from pipeline.service.answers import key_json
from pipeline.service.keys import KeyRequest, MadeKey

router = APIRouter(prefix="/v1/keys", tags=["keys"])


@router.get("")
def list_keys(ports: Ports, caller: Asks) -> Keys:
    """The keys of your tenant, newest first. No secret is among them."""
    return Keys(keys=[Key.model_validate(key_json(key)) for key in keys.list_keys(ports.keys, caller)])


@router.post("", status_code=201, dependencies=[TAKES_KEY])
def create_key(body: NewKey, ports: Ports, caller: Asks, response: Response) -> NewSecret:
    """Make a key for your tenant. Its secret is in this answer, and nobody is shown it again."""
    request = KeyRequest(
        name=body.name,
        roles=body.roles,
        collections=body.collections,
        buckets=body.buckets,
        acts_for_others=body.acts_for_others,
        justification=justification_of(body.justification),
        expires_in=timedelta(days=body.expires_in_days) if body.expires_in_days else None,
    )
    return _shown_once(keys.create_key(request, ports.keys, ports.answers_to, caller), response)


@router.get("/{key_id}")
def show_key(key_id: str, ports: Ports, caller: Asks) -> Key:
    """What a key is for, and when it was used last."""
    return Key.model_validate(key_json(keys.find_key(key_id, ports.keys, caller)))


@router.delete("/{key_id}", status_code=204)
def revoke_key(key_id: str, ports: Ports, caller: Asks) -> None:
    """Revoke a key. Within a second it opens nothing any more."""
    keys.revoke_key(key_id, ports.keys, ports.answers_to, caller)


@router.post("/{key_id}/rotate", status_code=201, dependencies=[TAKES_KEY])
def rotate_key(key_id: str, body: Rotation, ports: Ports, caller: Asks, response: Response) -> NewSecret:
    """Make another key of the same kind. The former stays valid for the overlap."""
    made = keys.rotate_key(
        key_id, ports.keys, ports.answers_to, caller, overlap=timedelta(hours=body.overlap_hours)
    )
    return _shown_once(made, response)


def _shown_once(made: MadeKey, response: Response) -> NewSecret:
    response.headers["location"] = f"/v1/keys/{made.key.key_id}"
    return NewSecret.model_validate(key_json(made.key) | {"secret": made.text})
