"""Keys are made, listed, rotated and revoked by who may, for what they may, and in their own tenant."""

from datetime import timedelta
from typing import Any

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import ArgumentError, ConflictError, DeniedError, NotFoundError
from pipeline.service.access import Caller, local_caller
from pipeline.service.keyring import Keyring, caller_with
from pipeline.service.keys import (
    KeyRequest,
    create_first_key,
    create_key,
    find_key,
    list_keys,
    revoke_key,
    rotate_key,
)
from pipeline.types import KeyRole
from tests.accountable import NO_LOG

ME = local_caller()


def request(**more: Any) -> KeyRequest:
    return KeyRequest(**({"name": "k", "roles": [KeyRole.SEARCHER]} | more))


def holder(ledger: SqlLedger, **more: Any) -> Caller:
    """Somebody with a key that the user of the machine made."""
    made = create_key(request(**more), ledger.keys, NO_LOG, ME)
    return caller_with(Keyring(ledger.keys).holder_of(made.text), request_id="r")


@pytest.mark.parametrize("role", [role for role in KeyRole if role is not KeyRole.ADMIN])
def test_only_an_admin_has_to_do_with_keys(ledger: SqlLedger, role: KeyRole) -> None:
    caller = holder(ledger, roles=[role])
    key_id = create_key(request(), ledger.keys, NO_LOG, ME).key.key_id
    for ask in (
        lambda: create_key(request(), ledger.keys, NO_LOG, caller),
        lambda: list_keys(ledger.keys, caller),
        lambda: find_key(key_id, ledger.keys, caller),
        lambda: revoke_key(key_id, ledger.keys, NO_LOG, caller),
        lambda: rotate_key(key_id, ledger.keys, NO_LOG, caller),
        lambda: create_first_key(ledger.keys, NO_LOG, caller),
    ):
        with pytest.raises(DeniedError, match="keys"):
            ask()


def test_an_admin_sees_and_moves_keys_of_the_own_tenant_alone(ledger: SqlLedger) -> None:
    admin = holder(ledger, roles=[KeyRole.ADMIN], tenant="acme", name="admin of acme")
    foreign = create_key(request(tenant="other"), ledger.keys, NO_LOG, ME).key.key_id
    own = create_key(request(), ledger.keys, NO_LOG, admin).key
    assert own.tenant == "acme"
    assert {key.name for key in list_keys(ledger.keys, admin)} == {"k", "admin of acme"}
    with pytest.raises(NotFoundError):
        find_key(foreign, ledger.keys, admin)
    for ask in (revoke_key, rotate_key):
        with pytest.raises(NotFoundError):
            ask(foreign, ledger.keys, NO_LOG, admin)
    with pytest.raises(DeniedError):
        create_key(request(tenant="other"), ledger.keys, NO_LOG, admin)
    assert len(list_keys(ledger.keys, ME)) == 3


REACH = [
    (["*"], ["anything", "*"], True),
    (["shop-*"], ["shop-*", "shop-eu"], True),
    (["shop-*"], ["*"], False),
    (["shop-*"], ["shop-e*"], False),  # it is within, and simpler rules are worth more
    (["shop-*"], ["press"], False),
    (["shop-*"], ["shop-[a-z]"], False),
    (["shop"], ["shop"], True),
]


@pytest.mark.parametrize("role", [KeyRole.AUDITOR, KeyRole.APPROVER])
def test_an_admin_makes_nobody_who_is_to_look_at_admins(ledger: SqlLedger, role: KeyRole) -> None:
    """Else one person is two, and agrees to what they have proposed."""
    admin = holder(ledger, roles=[KeyRole.ADMIN])
    second = create_key(request(roles=[role], name="somebody else"), ledger.keys, NO_LOG, ME).key
    with pytest.raises(DeniedError, match=role):
        create_key(request(roles=[role, KeyRole.SEARCHER]), ledger.keys, NO_LOG, admin)
    with pytest.raises(DeniedError, match=role):
        rotate_key(second.key_id, ledger.keys, NO_LOG, admin)
    revoke_key(second.key_id, ledger.keys, NO_LOG, admin)  # who sees that a key is lost may end it
    both = holder(ledger, roles=[KeyRole.ADMIN, role])
    assert create_key(request(roles=[role]), ledger.keys, NO_LOG, both).key.roles == (role,)


def test_only_who_may_act_for_others_hands_that_on(ledger: SqlLedger) -> None:
    """Else an admin puts their own searches down to somebody else, by a key of their own making."""
    admin = holder(ledger, roles=[KeyRole.ADMIN])
    portal = create_key(request(acts_for_others=True), ledger.keys, NO_LOG, ME).key
    with pytest.raises(DeniedError, match="acts_for_others"):
        create_key(request(acts_for_others=True), ledger.keys, NO_LOG, admin)
    with pytest.raises(DeniedError, match="acts_for_others"):
        rotate_key(portal.key_id, ledger.keys, NO_LOG, admin)
    revoke_key(portal.key_id, ledger.keys, NO_LOG, admin)  # who sees that a key is lost may end it
    allowed = holder(ledger, roles=[KeyRole.ADMIN], acts_for_others=True)
    handed_on = create_key(request(acts_for_others=True), ledger.keys, NO_LOG, allowed).key
    assert rotate_key(handed_on.key_id, ledger.keys, NO_LOG, allowed).key.acts_for_others


@pytest.mark.parametrize("what", ["collections", "buckets"])
@pytest.mark.parametrize(("own", "wanted", "may"), REACH)
def test_nobody_hands_on_more_than_they_have(
    ledger: SqlLedger, what: str, own: list[str], wanted: list[str], may: bool
) -> None:
    admin = holder(ledger, roles=[KeyRole.ADMIN], **{what: own})
    if may:
        create_key(request(**{what: wanted}), ledger.keys, NO_LOG, admin)
        return
    with pytest.raises(DeniedError, match=what):
        create_key(request(**{what: wanted}), ledger.keys, NO_LOG, admin)
    wider = create_key(request(**{what: wanted}), ledger.keys, NO_LOG, ME).key.key_id
    for ask in (rotate_key, revoke_key):  # nor by a key of somebody else
        with pytest.raises(DeniedError, match=what):
            ask(wider, ledger.keys, NO_LOG, admin)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " "},
        {"name": "x" * 101},
        {"name": "a\nb"},
        {"roles": []},
        {"tenant": "With_Underscore"},
        {"tenant": "*"},
        {"collections": []},
        {"collections": [""]},
        {"buckets": ["\0"]},
        {"expires_in": timedelta()},
    ],
)
def test_a_key_that_cannot_be_is_refused(ledger: SqlLedger, wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        create_key(request(**wrong), ledger.keys, NO_LOG, ME)
    assert list_keys(ledger.keys, ME) == []


@pytest.mark.parametrize("wanted", [None, timedelta(hours=1), timedelta(days=90)])
def test_no_key_outlives_the_one_with_which_it_was_made(ledger: SqlLedger, wanted: timedelta | None) -> None:
    """Else a key for a day makes one for ever, also by rotating itself or another one."""
    admin = holder(ledger, roles=[KeyRole.ADMIN], expires_in=timedelta(days=1))
    assert admin.expires_at is not None
    lasting = create_key(request(expires_in=wanted), ledger.keys, NO_LOG, ME).key
    made = [
        create_key(request(expires_in=wanted), ledger.keys, NO_LOG, admin).key,
        rotate_key(admin.key_id, ledger.keys, NO_LOG, admin, expires_in=wanted).key,
        rotate_key(lasting.key_id, ledger.keys, NO_LOG, admin, expires_in=wanted).key,
    ]
    for key in made:
        assert key.expires_at is not None
        assert key.expires_at <= admin.expires_at
    is_short = wanted == timedelta(hours=1)
    assert [key.expires_at < admin.expires_at for key in made] == [is_short] * 3  # type: ignore[operator]
    assert create_key(request(), ledger.keys, NO_LOG, ME).key.expires_at is None, (
        "whoever runs the service may"
    )


def test_a_key_that_is_not_valid_any_more_is_not_rotated(ledger: SqlLedger) -> None:
    key_id = create_key(request(), ledger.keys, NO_LOG, ME).key.key_id
    revoke_key(key_id, ledger.keys, NO_LOG, ME)
    with pytest.raises(ConflictError):
        rotate_key(key_id, ledger.keys, NO_LOG, ME)


def test_there_is_one_first_key_for_ever(ledger: SqlLedger) -> None:
    first = create_first_key(ledger.keys, NO_LOG, ME)
    assert first is not None
    assert first.key.roles == (KeyRole.ADMIN,)
    assert create_first_key(ledger.keys, NO_LOG, ME) is None
    revoke_key(first.key.key_id, ledger.keys, NO_LOG, ME)
    assert create_first_key(ledger.keys, NO_LOG, ME) is None
