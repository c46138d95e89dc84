"""The pictures that IndexFaces keeps, one for each face, for as long as the face is in its collection."""

import re

from pipeline.location import Location
from pipeline.ports import ObjectStore
from pipeline.service.access import ALL_TENANTS, Caller
from pipeline.types import DEFAULT_TENANT

_OF_TENANT = re.compile(r"tenant_(?P<tenant>[a-z][a-z0-9]*)_(?P<name>.+)")


def folder_of(collection: str, place: Location, caller: Caller) -> str:
    """Where the pictures of a collection are: the beginning of their keys. Args: `place`: for uploads."""
    tenant = DEFAULT_TENANT if caller.tenant == ALL_TENANTS else caller.tenant
    if caller.tenant == ALL_TENANTS and (found := _OF_TENANT.fullmatch(collection)):
        tenant, collection = found["tenant"], found["name"]  # this caller says the stored name
    return f"{place.prefix}{tenant}/faces/{collection}/"


def forget_pictures(collection: str, place: Location | None, store: ObjectStore, caller: Caller) -> None:
    """Delete those of a whole collection, once it is dropped. Safe to run twice."""
    if place is None:
        return
    kept = store.list_objects(place.bucket, folder_of(collection, place, caller))
    for key in [ref.key for ref in kept]:  # a list that shrinks while it is read may leave some out
        store.delete(place.bucket, key)
