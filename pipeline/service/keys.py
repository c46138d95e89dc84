"""Make, list, revoke and rotate the keys of the HTTP service."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from pipeline.errors import ArgumentError, ConflictError, DeniedError, NotFoundError
from pipeline.names import check_tenant_name, shown
from pipeline.ports import KeyBook
from pipeline.service.access import ALL_TENANTS, Caller, Permission, is_like_any, permissions_of, require
from pipeline.service.accountability import Accountability
from pipeline.service.act_records import enter_key_change
from pipeline.service.key_text import digest_of, id_in_text, new_key_text
from pipeline.types import DEFAULT_TENANT, ApiKey, Justification, KeyRole, KnownKey

MAX_NAME_CHARS = 100
MAX_GLOBS = 100
MAX_GLOB_CHARS = 1024
OVERLAP = timedelta(days=1)  # enough to hand the new key to every program


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRequest:
    """What a new key is to be. `tenant` is the caller's own by default."""

    name: str
    roles: Sequence[KeyRole]
    tenant: str = ""
    collections: Sequence[str] = ("*",)
    buckets: Sequence[str] = ("*",)
    acts_for_others: bool = False
    justification: Justification = field(default_factory=Justification)
    expires_in: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeKey:
    """A new key with its text, which nobody is shown again."""

    key: ApiKey
    text: str

    def __repr__(self) -> str:
        return f"MadeKey({self.key.key_id})"  # the text must reach no log


def create_key(request: KeyRequest, keys: KeyBook, answers_to: Accountability, caller: Caller) -> MadeKey:
    """Make a key. It expires with the caller's at the latest.

    Raises:
        ArgumentError: a name, a tenant, a role or a glob that cannot be.
        DeniedError: the caller may make no keys, or none that reaches as far as this one.
        AuditError: it could not be recorded. No key was made.
    """
    require(caller, Permission.KEYS)
    made = _make(request, caller)
    _check_reach(made.key, caller)
    _check_rights(made.key, caller)
    enter_key_change("created", made.key, answers_to, caller)
    keys.add_key(_known(made))
    return made


def create_first_key(keys: KeyBook, answers_to: Accountability, caller: Caller) -> MadeKey | None:
    """An admin's key for everything of the default tenant, if there has never been a key.

    Safe to run twice and from several processes: one of them gets it.
    """
    require(caller, Permission.KEYS)
    made = _make(KeyRequest(name="admin", roles=[KeyRole.ADMIN], tenant=DEFAULT_TENANT), caller)
    if keys.list_keys():
        return None
    enter_key_change("created", made.key, answers_to, caller)
    return made if keys.add_first_key(_known(made)) else None


def list_keys(keys: KeyBook, caller: Caller) -> list[ApiKey]:
    """The keys of the caller's tenant, newest first. Also those that are not valid any more."""
    require(caller, Permission.KEYS)
    return [key for key in keys.list_keys() if _is_of(key, caller)]


def find_key(key_id: str, keys: KeyBook, caller: Caller) -> ApiKey:
    """Raises NotFoundError: the caller's tenant has no such key."""
    require(caller, Permission.KEYS)
    known = keys.find_key(key_id)
    if known is None or not _is_of(known.key, caller):
        raise NotFoundError(f"no key {shown(key_id)}; `pictor keys list` shows those that there are")
    return known.key


def revoke_key(key_id: str, keys: KeyBook, answers_to: Accountability, caller: Caller) -> None:
    """Let the key open nothing any more. Every process follows within a second. Safe to run twice.

    Raises:
        NotFoundError: the caller's tenant has no such key.
        DeniedError: it reaches farther than the caller does.
    """
    key = find_key(key_id, keys, caller)
    _check_reach(key, caller)
    enter_key_change("revoked", key, answers_to, caller)
    keys.revoke_key(key.key_id, datetime.now(UTC))


def rotate_key(
    key_id: str,
    keys: KeyBook,
    answers_to: Accountability,
    caller: Caller,
    *,
    overlap: timedelta = OVERLAP,
    expires_in: timedelta | None = None,
) -> MadeKey:
    """Make another key of the same kind. The former goes on for a while, so that nobody is locked out.

    Args:
        overlap: how long both are valid. The former expires earlier if it would have done so anyway.
        expires_in: of the new one. By default it lasts as long as the former was made for. The caller's own
            expiry bounds it.

    Raises:
        NotFoundError: the caller's tenant has no such key.
        ConflictError: it is not valid any more.
        DeniedError: it reaches farther than the caller does.
    """
    former, now = find_key(key_id, keys, caller), datetime.now(UTC)
    if not former.is_valid(now):
        raise ConflictError(
            f"key {key_id} is not valid any more; `pictor keys create NAME --role admin` makes a new one"
        )
    lasted = former.expires_at - former.created_at if former.expires_at else None
    request = KeyRequest(
        name=former.name,
        roles=former.roles,
        tenant=former.tenant,
        collections=former.collections,
        buckets=former.buckets,
        acts_for_others=former.acts_for_others,
        justification=former.justification,
        expires_in=expires_in or lasted,
    )
    made = _make(request, caller)
    made = replace(made, key=replace(made.key, replaces=former.key_id))
    _check_reach(made.key, caller)
    _check_rights(made.key, caller)  # its text is for the caller's eyes
    enter_key_change("rotated", made.key, answers_to, caller)
    keys.replace_key(_known(made), former_expires_at=now + overlap)
    return made


def _make(request: KeyRequest, caller: Caller) -> MadeKey:
    name, now, text = request.name.strip(), datetime.now(UTC), new_key_text()
    if not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable():
        raise ArgumentError(
            f"key name {shown(name)}: 1 to {MAX_NAME_CHARS} printable characters are expected"
        )
    if not request.roles:
        raise ArgumentError(f"a role is expected: {', '.join(KeyRole)}")
    if request.expires_in is not None and request.expires_in <= timedelta():
        raise ArgumentError("expires_in: a time longer than zero is expected")
    own = DEFAULT_TENANT if caller.tenant == ALL_TENANTS else caller.tenant
    key = ApiKey(
        key_id=id_in_text(text) or "",
        name=name,
        tenant=check_tenant_name(request.tenant or own),
        roles=tuple(sorted(set(request.roles))),
        collections=_globs(request.collections, "collections"),
        buckets=_globs(request.buckets, "buckets"),
        acts_for_others=request.acts_for_others,
        justification=request.justification,
        created_at=now,
        created_by=caller.who,
        expires_at=_expiry(request.expires_in, now, caller),
    )
    return MadeKey(key=key, text=text)


def _expiry(wanted: timedelta | None, now: datetime, caller: Caller) -> datetime | None:
    """No key outlives the one with which it was made: who has that for a while gets nothing for ever."""
    ends = (now + wanted if wanted is not None else None, caller.expires_at)
    return min((end for end in ends if end is not None), default=None)


def _globs(globs: Sequence[str], what: str) -> tuple[str, ...]:
    if not 1 <= len(globs) <= MAX_GLOBS:
        raise ArgumentError(f"{what}: 1 to {MAX_GLOBS} globs are expected, found {len(globs)}")
    for glob in globs:
        if not 1 <= len(glob) <= MAX_GLOB_CHARS or not glob.isprintable():
            raise ArgumentError(f"{what}: {shown(glob)} is no glob of 1 to {MAX_GLOB_CHARS} characters")
    return tuple(globs)


def _check_reach(key: ApiKey, caller: Caller) -> None:
    """Nobody hands on more than they have, or takes away what they could not give."""
    if not _is_of(key, caller):
        raise DeniedError(f"{caller.who!r} may make keys of tenant {caller.tenant} only")
    for what, wanted, own in (
        ("collections", key.collections, caller.collections),
        ("buckets", key.buckets, caller.buckets),
    ):
        beyond = [glob for glob in wanted if not _is_within(glob, own)]
        if beyond:
            raise DeniedError(
                f"{what}: {', '.join(map(shown, beyond))} is beyond what {caller.who!r} may reach; "
                f"allowed are {', '.join(own)}"
            )


def _check_rights(key: ApiKey, caller: Caller) -> None:
    """An admin who could make an approver's key would agree to their own proposals, and one who could make a
    key that acts for others would put a search down to somebody else (decision 0155).
    """
    beyond = [role for role in key.roles if not permissions_of([role]) <= caller.permissions]
    if beyond:
        raise DeniedError(
            f"roles: {', '.join(beyond)} may do what {caller.who!r} may not; whoever runs the service makes "
            "such a key, for example with `pictor keys create NAME --role approver`"
        )
    if key.acts_for_others and not caller.acts_for_others:
        raise DeniedError(
            f"acts_for_others: {caller.who!r} may not say on whose behalf it asks, so it may not hand that "
            "on; whoever runs the service makes such a key, for example with "
            "`pictor keys create NAME --role searcher --on-behalf`"
        )


def _is_within(glob: str, own: Sequence[str]) -> bool:
    """Whether all that a glob matches is matched by another one. May say no to a glob that is."""
    is_name = not any(sign in glob for sign in "*?[")
    return "*" in own or glob in own or (is_name and is_like_any(glob, own))


def _is_of(key: ApiKey, caller: Caller) -> bool:
    return caller.tenant in (key.tenant, ALL_TENANTS)


def _known(made: MadeKey) -> KnownKey:
    return KnownKey(key=made.key, digest=digest_of(made.text))
