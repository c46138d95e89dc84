"""Who asks. Every use case is told, and asks here first whether they may."""

import os
import pwd
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from pipeline.errors import DeniedError
from pipeline.names import shown


class Role(StrEnum):
    READ = "read"  # search, look at jobs and collections
    WRITE = "write"  # submit jobs, delete objects
    OPERATE = "operate"  # retry and move jobs, drop collections


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """`who` asks through this door, perhaps on behalf of somebody whom the door does not know.

    `buckets` and `collections` are globs of the names that this door may reach.
    """

    who: str
    roles: frozenset[Role]
    buckets: tuple[str, ...] = ("*",)
    collections: tuple[str, ...] = ("*",)
    tenant: str = "default"
    on_behalf_of: str = ""
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)


def local_caller() -> Caller:
    """The user of this machine who runs the command: whoever may open the ledger and the index may all."""
    return Caller(who=_user_name(), roles=frozenset(Role))


def require(caller: Caller, role: Role) -> None:
    """Raises DeniedError, naming the caller and the missing role."""
    if role not in caller.roles:
        has = ", ".join(sorted(caller.roles)) or "none"
        raise DeniedError(f"{caller.who!r} may not do this: role {role} is needed, found {has}")


def require_names(caller: Caller, *, collection: str, buckets: Sequence[str] = ()) -> None:
    """Raises DeniedError for a collection or bucket that this caller may not reach."""
    _require_name(caller, "collection", collection, caller.collections)
    for bucket in buckets:
        _require_name(caller, "bucket", bucket, caller.buckets)


def _require_name(caller: Caller, kind: str, name: str, allowed: Sequence[str]) -> None:
    if not any(fnmatchcase(name, glob) for glob in allowed):
        raise DeniedError(
            f"{caller.who!r} may not use {kind} {shown(name)}; allowed are {', '.join(allowed) or 'none'}"
        )


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user often has a number and no name
        return f"uid {os.getuid()}"
