"""Keys of the HTTP service: whom a key stands for, and what it may reach."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pipeline.types.policy import Justification

DEFAULT_TENANT = "default"
ALL_TENANTS = "*"  # of the user of this machine alone. No tenant can have this name


def tenant_beginning(tenant: str) -> str:
    """How the stored names of a tenant's collections begin: see `service.confined.scope`."""
    return "" if tenant in (DEFAULT_TENANT, ALL_TENANTS) else f"tenant_{tenant}_"


class KeyRole(StrEnum):
    """What a key is for. `service.access.PERMISSIONS` says what each may do."""

    ADMIN = "admin"
    WRITER = "writer"
    SEARCHER = "searcher"
    AUDITOR = "auditor"
    APPROVER = "approver"
    VERIFIER = "verifier"


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """What is known of a key. Its secret is known to its holder alone.

    `collections` and `buckets` are globs of the names that it may reach. `justification` is that of searches
    that state none.
    """

    key_id: str
    name: str
    tenant: str
    roles: tuple[KeyRole, ...]
    collections: tuple[str, ...] = ("*",)
    buckets: tuple[str, ...] = ("*",)
    acts_for_others: bool = False  # it may say on whose behalf it asks
    justification: Justification = field(default_factory=Justification)
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None  # to a quarter of an hour
    replaces: str = ""  # the id of the key in whose place this one was made

    def is_valid(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownKey:
    """A key, and the digest of its text in hex."""

    key: ApiKey
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Somebody who has signed in on a page with a key."""

    key_id: str
    expires_at: datetime
