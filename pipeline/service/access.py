"""Who asks. Every use case is told, and asks here first whether they may."""

import os
import pwd
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache

from pipeline.errors import DeniedError
from pipeline.names import is_of_tenant, shown
from pipeline.types import ALL_TENANTS as ALL_TENANTS
from pipeline.types import DEFAULT_TENANT, LOCAL_ROLE, Justification, KeyRole


class Permission(StrEnum):
    """What a use case asks for."""

    READ = "read"  # look at jobs, collections and images
    SEARCH = "search"
    WRITE = "write"  # submit jobs, delete objects
    OPERATE = "operate"  # retry and move jobs, drop collections
    KEYS = "keys"  # make, list and revoke keys of the own tenant
    AUDIT = "audit"  # read the record of who did what
    APPROVE = "approve"  # agree to what another person proposes
    VERIFY = "verify"  # say whether the match of a search is one


PERMISSIONS: Mapping[KeyRole, frozenset[Permission]] = {
    KeyRole.ADMIN: frozenset(
        {Permission.READ, Permission.SEARCH, Permission.WRITE, Permission.OPERATE, Permission.KEYS}
    ),
    KeyRole.WRITER: frozenset({Permission.READ, Permission.SEARCH, Permission.WRITE}),
    KeyRole.SEARCHER: frozenset({Permission.READ, Permission.SEARCH}),
    # These two look on: they search nobody and change nothing.
    KeyRole.AUDITOR: frozenset({Permission.READ, Permission.AUDIT}),
    KeyRole.APPROVER: frozenset({Permission.READ, Permission.APPROVE}),
    # Whoever gives this role says that the person is competent and trained for it, and may do it.
    KeyRole.VERIFIER: frozenset({Permission.READ, Permission.VERIFY}),
}
"""What a key of each role may do. An admin has no part in audits, approvals and verifications, which look at
what admins do, too.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """`who` asks through this door, perhaps on behalf of somebody whom the door does not know.

    `buckets` and `collections` are globs of the names that the caller may reach. `roles` are those of the
    key, or of the door, and `permissions` follow from them.
    """

    who: str
    permissions: frozenset[Permission]
    buckets: tuple[str, ...] = ("*",)
    collections: tuple[str, ...] = ("*",)
    tenant: str = DEFAULT_TENANT
    on_behalf_of: str = ""
    key_id: str = ""  # of the key that was shown
    expires_at: datetime | None = None  # of that key
    acts_for_others: bool = False  # may say on whose behalf it asks
    roles: tuple[str, ...] = ()
    justification: Justification = field(default_factory=Justification)  # of searches that state none
    address: str = ""  # of the network, where there is one
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)


def local_caller(*, request_id: str = "", on_behalf_of: str = "") -> Caller:
    """The user of this machine who runs the command: whoever may open the ledger and the index may all."""
    return Caller(
        who=_name_of_user(os.getuid()),
        permissions=frozenset(Permission),
        tenant=ALL_TENANTS,
        roles=(LOCAL_ROLE,),
        acts_for_others=True,
        on_behalf_of=on_behalf_of,
        request_id=request_id or uuid.uuid4().hex,
    )


def permissions_of(roles: Iterable[KeyRole]) -> frozenset[Permission]:
    """What a key with these roles may do."""
    return frozenset().union(*(PERMISSIONS[role] for role in roles))


def require(caller: Caller, permission: Permission) -> None:
    """Raises DeniedError, naming the caller and the missing permission."""
    if permission not in caller.permissions:
        has = ", ".join(sorted(caller.permissions)) or "none"
        of = ", ".join(of.value for of, may in PERMISSIONS.items() if permission in may)
        raise DeniedError(
            f"{caller.who!r} may not do this: permission {permission} is needed, found {has}. "
            f"These roles have it: {of}"
        )


def require_names(caller: Caller, *, collection: str, buckets: Sequence[str] = ()) -> None:
    """Raises DeniedError for a collection or bucket that this caller may not reach."""
    if caller.tenant == DEFAULT_TENANT and is_of_tenant(collection):
        raise DeniedError(f"{caller.who!r} may not use collection {shown(collection)}, which is a tenant's")
    require_name(caller.who, "collection", collection, caller.collections)
    for bucket in buckets:
        require_name(caller.who, "bucket", bucket, caller.buckets)


def require_name(who: str, kind: str, name: str, allowed: Sequence[str]) -> None:
    """Raises DeniedError for a name that none of the globs matches."""
    if not is_like_any(name, allowed):
        raise DeniedError(
            f"{who!r} may not use {kind} {shown(name)}; allowed are {', '.join(allowed) or 'none'}"
        )


def is_like_any(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


@cache  # each request asks, and it is a look into the system's file of users
def _name_of_user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's user often has a number and no name
        return f"uid {uid}"
