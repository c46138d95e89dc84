"""Records of what a caller did."""

from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from pipeline.service.access import Caller
from pipeline.types.audit import Actor, AuditKind, AuditRecord


def actor_of(caller: Caller) -> Actor:
    roles = ", ".join(caller.roles)
    return Actor(
        id=caller.who, role=roles, auth_method="key" if caller.key_id else roles, address=caller.address
    )


@cache
def software_version() -> str:
    return f"pictor {version('pictor')}"


def record_of(
    kind: AuditKind, caller: Caller, *, started_at: datetime | None = None, **rest: Any
) -> AuditRecord:
    """What `caller` has done just now.

    Args:
        started_at: now, by default.
        rest: other fields of `AuditRecord`.
    """
    rest.setdefault("ended_at", datetime.now(UTC))
    return AuditRecord(
        kind=kind,
        actor=actor_of(caller),
        tenant=caller.tenant,
        on_behalf_of=caller.on_behalf_of,
        request_id=caller.request_id,
        started_at=started_at or rest["ended_at"],
        software_version=software_version(),
        **rest,
    )
