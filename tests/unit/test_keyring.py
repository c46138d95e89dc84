"""Who shows a key: each reason to turn somebody away, and how soon a process follows what another wrote."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import TransientError, UnknownCallerError
from pipeline.service.access import PERMISSIONS, Permission, local_caller
from pipeline.service.key_text import PREFIX, _checksum, digest_of, id_in_text, new_key_text
from pipeline.service.keyring import MAX_SESSIONS, NOTED_EVERY, SESSION, Keyring, caller_with
from pipeline.service.keys import KeyRequest, MadeKey, create_key, revoke_key, rotate_key
from pipeline.types import KeyRole
from tests.accountable import NO_LOG

ME = local_caller()


@dataclass
class Moment:
    """A clock that stands still until a test moves it. Keys are made by the real one, some moments later."""

    start: datetime = field(default_factory=lambda: datetime.now(UTC))
    passed_s: float = 0.0

    def clock_s(self) -> float:
        return self.passed_s

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.passed_s)


@dataclass
class World:
    ledger: SqlLedger
    moment: Moment = field(default_factory=Moment)

    def __post_init__(self) -> None:
        self.keyring = self.of_another_process()

    def of_another_process(self) -> Keyring:
        return Keyring(self.ledger.keys, clock_s=self.moment.clock_s, now=self.moment.now)

    def make(self, *, expires_in: timedelta | None = None) -> MadeKey:
        request = KeyRequest(name="a key", roles=[KeyRole.WRITER], expires_in=expires_in)
        return create_key(request, self.ledger.keys, NO_LOG, ME)


@pytest.fixture
def world(ledger: SqlLedger) -> World:
    return World(ledger)


def is_turned_away(ask: Callable[[str], object], text: str) -> bool:
    try:
        ask(text)
    except UnknownCallerError:
        return True
    return False


def with_secret_of(text: str, another: str) -> str:
    """The id of the one, the secret of the other, and the checksum that belongs to them."""
    body = text[10:22] + another[22:65]
    return f"{PREFIX}{body}{_checksum(body)}"


def test_the_holder_of_a_key_is_who_it_was_made_for(world: World) -> None:
    made = world.make()
    assert world.keyring.holder_of(made.text).key_id == made.key.key_id


def test_a_text_that_is_no_key_or_nobodys_is_turned_away(world: World) -> None:
    made = world.make()
    another = new_key_text()
    stolen_id = with_secret_of(made.text, another)
    for text in ("", "pictor_sk_", another, stolen_id, made.text.lower(), f" {made.text}", made.key.key_id):
        assert is_turned_away(world.keyring.holder_of, text), text
    assert id_in_text(stolen_id) == made.key.key_id, "it is the secret that keeps this one out"


def test_only_the_digest_of_a_key_is_kept(world: World) -> None:
    made = world.make()
    with world.ledger._writer.connect() as connection:
        rows = [str(row) for row in connection.exec_driver_sql("SELECT * FROM api_key").all()]
    assert digest_of(made.text) in rows[0]
    assert made.text[22:65] not in rows[0]
    assert made.text not in repr(made)


def test_a_key_expires(world: World) -> None:
    made = world.make(expires_in=timedelta(hours=1))
    world.keyring.holder_of(made.text)
    world.moment.passed_s = 3599.0
    world.keyring.holder_of(made.text)
    world.moment.passed_s = 3700.0
    assert is_turned_away(world.keyring.holder_of, made.text)


def test_a_revoked_key_opens_nothing_in_any_process_within_a_second(world: World) -> None:
    made, elsewhere = world.make(), world.of_another_process()
    for keyring in (world.keyring, elsewhere):
        keyring.holder_of(made.text)
    revoke_key(made.key.key_id, world.ledger.keys, NO_LOG, ME)
    world.moment.passed_s = 1.0
    for keyring in (world.keyring, elsewhere):
        assert is_turned_away(keyring.holder_of, made.text)


def test_a_rotated_key_and_its_successor_overlap(world: World) -> None:
    former = world.make()
    successor = rotate_key(former.key.key_id, world.ledger.keys, NO_LOG, ME, overlap=timedelta(hours=1))
    assert successor.key.replaces == former.key.key_id
    assert (successor.key.roles, successor.key.name) == (former.key.roles, former.key.name)
    world.moment.passed_s = 3500.0
    for made in (former, successor):
        world.keyring.holder_of(made.text)
    world.moment.passed_s = 3700.0
    assert is_turned_away(world.keyring.holder_of, former.text)
    world.keyring.holder_of(successor.text)


def test_a_rotation_lets_no_key_live_longer(world: World) -> None:
    former = world.make(expires_in=timedelta(minutes=1))
    successor = rotate_key(former.key.key_id, world.ledger.keys, NO_LOG, ME, overlap=timedelta(hours=1))
    assert successor.key.expires_at is not None
    assert successor.key.expires_at - successor.key.created_at == timedelta(minutes=1)
    world.moment.passed_s = 90.0
    assert is_turned_away(world.keyring.holder_of, former.text)


def last_used(world: World, made: MadeKey) -> datetime | None:
    known = world.ledger.keys.find_key(made.key.key_id)
    assert known is not None
    return known.key.last_used_at


def test_use_is_noted_coarsely_and_only_of_who_has_the_secret(world: World) -> None:
    made = world.make()
    assert is_turned_away(world.keyring.holder_of, with_secret_of(made.text, new_key_text()))
    assert last_used(world, made) is None
    world.moment.passed_s = 1.0
    world.keyring.holder_of(made.text)
    first = last_used(world, made)
    assert first == world.moment.now()
    world.moment.passed_s += NOTED_EVERY.total_seconds() - 1
    world.keyring.holder_of(made.text)
    assert last_used(world, made) == first
    world.moment.passed_s += 2
    world.keyring.holder_of(made.text)
    assert last_used(world, made) == world.moment.now()


def test_a_ledger_that_takes_no_note_turns_nobody_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise TransientError("the ledger is away")

    made = world.make()
    monkeypatch.setattr(world.ledger.keys, "note_use", away)
    world.keyring.holder_of(made.text)


# Sessions


def test_whoever_signs_in_is_known_until_signing_out(world: World) -> None:
    made, elsewhere = world.make(), world.of_another_process()
    session = world.keyring.sign_in(made.text)
    assert made.text not in session
    for keyring in (world.keyring, elsewhere):
        assert keyring.signed_in(session).key_id == made.key.key_id
    elsewhere.sign_out(session)
    assert is_turned_away(elsewhere.signed_in, session)
    world.moment.passed_s = 1.0
    assert is_turned_away(world.keyring.signed_in, session)


def test_a_session_ends_with_its_key_and_with_its_day(world: World) -> None:
    first, second = world.make(), world.make()
    sessions = [world.keyring.sign_in(made.text) for made in (first, second)]
    for session in sessions:
        world.keyring.signed_in(session)
    revoke_key(first.key.key_id, world.ledger.keys, NO_LOG, ME)
    world.moment.passed_s = 1.0
    assert is_turned_away(world.keyring.signed_in, sessions[0])
    world.keyring.signed_in(sessions[1])
    world.moment.passed_s = SESSION.total_seconds() + 1
    assert is_turned_away(world.keyring.signed_in, sessions[1])


def test_a_key_has_so_many_sessions_and_the_oldest_ends(world: World) -> None:
    made = world.make()
    sessions = []
    for minute in range(MAX_SESSIONS + 1):
        world.moment.passed_s = 60.0 * minute
        sessions.append(world.keyring.sign_in(made.text))
    open_ones = [session for session in sessions if not is_turned_away(world.keyring.signed_in, session)]
    assert open_ones == sessions[1:]


def test_nobody_signs_in_without_a_key(world: World) -> None:
    assert is_turned_away(world.keyring.sign_in, new_key_text())
    assert is_turned_away(world.keyring.signed_in, "made up")


# What a key may do


def test_a_key_may_do_what_its_roles_say(world: World) -> None:
    for roles in ([KeyRole.SEARCHER], [KeyRole.AUDITOR, KeyRole.WRITER]):
        made = create_key(KeyRequest(name="k", roles=roles), world.ledger.keys, NO_LOG, ME)
        caller = caller_with(world.keyring.holder_of(made.text), request_id="r")
        assert caller.permissions == frozenset().union(*(PERMISSIONS[role] for role in roles))


def test_those_who_look_on_search_nobody_and_change_nothing() -> None:
    for role in (KeyRole.AUDITOR, KeyRole.APPROVER):
        assert (
            PERMISSIONS[role] & {Permission.SEARCH, Permission.WRITE, Permission.OPERATE, Permission.KEYS}
            == set()
        )
    assert PERMISSIONS[KeyRole.ADMIN] & {Permission.AUDIT, Permission.APPROVE} == set()
