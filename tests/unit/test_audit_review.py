"""What is worth a look, and what is not."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import wiring_audit
from pipeline.errors import ConfigError, DeniedError
from pipeline.reports.acts import Act
from pipeline.reports.coverage import Period
from pipeline.reports.findings import Finding, FindingKind, bursts
from pipeline.reports.thresholds import Thresholds
from pipeline.service.access import Caller, local_caller, permissions_of
from pipeline.service.audit_review import review_log
from pipeline.settings import Settings
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import (
    Actor,
    AuditKind,
    AuditRecord,
    Authorisation,
    Candidate,
    KeyRole,
    Probe,
    ReferenceDb,
    Verifier,
)
from tests.audit_records import search_by
from tests.unit.commands import Output, pictor

ME = local_caller()
FRIDAY_NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
LATER = FRIDAY_NOON + timedelta(days=30)


def usual(**changed: Any) -> Thresholds:
    """Of the settings as they come."""
    return wiring_audit.review_thresholds(Settings(**changed))


def search(person: str, *, at: datetime = FRIDAY_NOON, probe: str = "", **rest: Any) -> AuditRecord:
    made = search_by(person, probe=Probe(sha256=probe, source="upload"), **rest)
    return AuditRecord(
        **{name: getattr(made, name) for name in made.__slots__} | {"started_at": at, "ended_at": at}
    )


def found(
    records: Sequence[AuditRecord], thresholds: Thresholds | None = None, now: datetime = LATER
) -> Sequence[Finding]:
    log = MemoryAuditLog()
    log.append(records)
    return review_log(Period(), thresholds or usual(), log, ME, now=now).findings


def kinds(
    *records: AuditRecord, now: datetime = LATER, **changed: Any
) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(one.kind.value, one.person, one.entries) for one in found(records, usual(**changed), now)]


def test_one_picture_again_and_again_is_to_look_at() -> None:
    hours = [FRIDAY_NOON + timedelta(minutes=30 * number) for number in range(5)]
    same = [search("ann (k1)", at=at, probe="ab" * 32) for at in hours]
    assert kinds(*same) == [("repeated_probe", "ann", (0, 1, 2, 3, 4))]
    assert kinds(*same[:4]) == []
    by_several = [search(f"p{number}", at=at, probe="ab" * 32) for number, at in enumerate(hours)]
    assert kinds(*by_several) == []
    assert kinds(*(search("ann", at=at) for at in hours)) == [], "a search by a stored vector has no digest"


def test_somebody_with_two_keys_is_one_person_and_whoever_is_asked_for_is_another() -> None:
    hours = [FRIDAY_NOON + timedelta(minutes=30 * number) for number in range(5)]
    two_keys = [search(f"ann (k{number % 2})", at=at, probe="ab" * 32) for number, at in enumerate(hours)]
    assert [person for _, person, _ in kinds(*two_keys)] == ["ann"]
    for_eve = [search("desk (k1)", at=at, probe="ab" * 32, on_behalf_of="eve") for at in hours]
    assert [person for _, person, _ in kinds(*for_eve)] == ["eve"]


@pytest.mark.parametrize(
    ("at", "is_listed"),
    [
        ("2026-11-27T07:00:00+00:00", False),
        ("2026-11-27T06:59:59+00:00", True),
        ("2026-11-27T18:59:59+00:00", False),
        ("2026-11-27T19:00:00+00:00", True),
        ("2026-11-28T12:00:00+00:00", True),  # a Saturday
        ("2026-11-30T12:00:00+00:00", False),
    ],
)
def test_searches_outside_the_hours_of_work_are_to_look_at(at: str, is_listed: bool) -> None:
    assert bool(kinds(search("ann", at=datetime.fromisoformat(at)))) is is_listed


@pytest.mark.parametrize(
    ("hours", "zone", "at", "is_listed"),
    [
        ("mon-fri 07-19", "America/New_York", "2026-11-27T13:00:00+00:00", False),
        ("mon-fri 07-19", "America/New_York", "2026-11-27T09:00:00+00:00", True),
        ("mon-sun 00-24", "UTC", "2026-11-28T23:59:59+00:00", False),
        ("sat 08-12", "UTC", "2026-11-28T09:00:00+00:00", False),
        ("fri-mon 08-12", "UTC", "2026-11-29T09:00:00+00:00", False),
        ("fri-mon 08-12", "UTC", "2026-12-01T09:00:00+00:00", True),
    ],
)
def test_hours_of_work_are_a_setting(hours: str, zone: str, at: str, is_listed: bool) -> None:
    changed: dict[str, Any] = {"review_hours": hours, "review_time_zone": zone}
    assert bool(kinds(search("ann", at=datetime.fromisoformat(at)), **changed)) is is_listed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REVIEW_HOURS", "always"),
        ("REVIEW_HOURS", "mon-fri 19-07"),
        ("REVIEW_HOURS", "mon-fri 07-25"),
        ("REVIEW_TIME_ZONE", "Europe/Atlantis"),
        ("REVIEW_TIME_ZONE", "../../etc/passwd"),
    ],
)
def test_hours_that_cannot_be_are_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"PICTOR_{name}", value)
    with pytest.raises(ConfigError, match=f"PICTOR_{name}"):
        wiring_audit.review_thresholds(Settings.from_env())


def test_many_searches_in_a_few_minutes_are_to_look_at() -> None:
    quick = [search("ann", at=FRIDAY_NOON + timedelta(seconds=number)) for number in range(4)]
    slow = [search("ann", at=FRIDAY_NOON + timedelta(hours=1, minutes=9 * number)) for number in range(4)]
    changed: dict[str, Any] = {
        "review_burst_searches": 3,
        "review_burst_minutes": 10,
        "review_purpose_searches": 100,
    }
    assert kinds(*quick, *slow, **changed) == [("burst", "ann", (0, 1, 2, 3))]


@settings(max_examples=200)
@given(st.lists(st.integers(0, 200), max_size=30), st.integers(2, 6), st.integers(1, 40))
def test_a_search_is_in_a_burst_if_a_window_around_it_is_full(
    minutes: list[int], least: int, within: int
) -> None:
    thresholds = usual(review_burst_searches=least, review_burst_minutes=within)
    acts = [
        Act(
            index=index,
            record_id=str(index),
            kind="search",
            tenant="t",
            actor="ann",
            started_at=at,
            ended_at=at,
        )
        for index, minute in enumerate(minutes)
        for at in [FRIDAY_NOON + timedelta(minutes=minute)]
    ]
    listed = [entry for finding in bursts({"ann": acts}, thresholds) for entry in finding.entries]
    windows = [
        [index for index, minute in enumerate(minutes) if start <= minute <= start + within]
        for start in minutes
    ]
    assert sorted(listed) == sorted({index for window in windows if len(window) >= least for index in window})


@pytest.mark.parametrize(
    ("purposes", "is_listed"),
    [
        (["missing"] * 30, True),
        (["missing"] * 29, False),
        (["missing"] * 29 + ["theft"] * 1, True),
        (["missing"] * 27 + ["theft"] * 3, False),
        ([""] * 30, True),
    ],
)
def test_one_purpose_for_all_is_to_look_at(purposes: Sequence[str], is_listed: bool) -> None:
    records = [
        search("ann", at=FRIDAY_NOON + timedelta(minutes=10 * number), purpose_code=purpose)
        for number, purpose in enumerate(purposes)
    ]
    listed = [kind for kind, *_ in kinds(*records, review_hours="mon-sun 00-24")]
    assert listed == (["one_purpose"] if is_listed else [])


def to_verify() -> AuditRecord:
    return search(
        "ann", candidates=(Candidate(id="0" * 32, score=0.9, rank=1),), details={"verifications": 1}
    )


def verified(of: AuditRecord) -> AuditRecord:
    person = Verifier(id="bob", time=FRIDAY_NOON, decision="reject")
    return AuditRecord(
        kind=AuditKind.VERIFICATION,
        actor=Actor(id="bob"),
        started_at=FRIDAY_NOON,
        ended_at=FRIDAY_NOON,
        refers_to=(of.record_id,),
        candidates=of.candidates,
        verifiers=(person,),
    )


def test_hits_that_nobody_decided_over_are_to_look_at_after_a_week() -> None:
    waiting = to_verify()
    assert kinds(waiting, now=FRIDAY_NOON + timedelta(days=7)) == []
    assert kinds(waiting, now=FRIDAY_NOON + timedelta(days=8)) == [("not_verified", "ann", (0,))]
    assert kinds(waiting, verified(waiting)) == []


def under_clock(case: str) -> AuditRecord:
    late = Authorisation(type="48h", expires_at=FRIDAY_NOON + timedelta(hours=48))
    return search("ann", case_ref=case, authorisation=late)


@pytest.mark.parametrize(("granted", "is_listed"), [(True, False), (False, True)])
def test_an_authorisation_that_is_missing_after_48_hours_is_to_look_at(
    granted: bool, is_listed: bool
) -> None:
    cases = [under_clock("C-7"), under_clock("C-7")]
    assert kinds(*cases, now=FRIDAY_NOON + timedelta(hours=47)) == []
    decided = AuditRecord(
        kind=AuditKind.AUTHORISATION,
        actor=Actor(id="judge"),
        started_at=FRIDAY_NOON,
        ended_at=FRIDAY_NOON,
        case_ref="C-7",
        reference_db=ReferenceDb(collection="faces"),
        authorisation=Authorisation(type="48h", granted_at=FRIDAY_NOON if granted else None),
    )
    assert bool(kinds(*cases, decided)) is is_listed
    assert kinds(*cases) == [("not_authorised", "", (0, 1))]


def test_nothing_is_called_misuse() -> None:
    records = [search("ann", at=FRIDAY_NOON - timedelta(hours=9), probe="ab" * 32) for _ in range(40)]
    text = " ".join(finding.words for finding in found([*records, to_verify(), under_clock("C-7")]))
    assert text
    assert not any(word in text.lower() for word in ("misuse", "abuse", "suspicious", "violation", "illegal"))
    assert {kind.value for kind in FindingKind} == {
        kind for kind, *_ in kinds(*records, to_verify(), under_clock("C-7"))
    }


def test_a_review_is_an_entry_and_is_for_auditors() -> None:
    log = MemoryAuditLog()
    log.append([search("ann")])
    period = Period(since=FRIDAY_NOON - timedelta(days=1))
    review_log(period, usual(), log, ME)
    record = json.loads(list(log.entries())[-1].record or b"{}")
    assert (record["kind"], record["details"]) == ("read", {"review": {"since": "2026-11-26T12:00:00+00:00"}})
    with pytest.raises(DeniedError):
        review_log(period, usual(), log, Caller(who="a", permissions=permissions_of([KeyRole.ADMIN])))


def test_the_command_lists_what_to_look_at(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("PICTOR_REVIEW_REPEATS", "2")
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        log.append([search("ann", probe="ab" * 32), search("ann", probe="ab" * 32)])

    def review(*words: str) -> int:
        return pictor(monkeypatch, "audit", "review", *words)

    assert review("--from", "2026-11-01", "--json") == 0
    (said,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert said == {
        "look_at": "repeated_probe",
        "person": "ann",
        "why": "searched 2 times with one picture (abababababab)",
        "count": 2,
        "entries": [0, 1],
    }
    assert review("--from", "2026-11-01", "--to", "2026-11-27") == 0
    assert "0 things to look at, in 0 entries" in capsys.readouterr().err
