"""The policy of a collection against a table that was written without looking at its rules."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.make_policies import PAGE, make_page
from pipeline.service.case_pattern import fits
from pipeline.service.policy_change import loosened
from pipeline.service.policy_rules import RULES, Asked, refusal_of, starts_clock, threshold_of
from pipeline.types import (
    AuthorisationRule,
    CaseClock,
    CollectionPolicy,
    Justification,
    Purpose,
    RefusalReason,
)

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
POLICY = CollectionPolicy(
    purposes=(Purpose(code="theft", text="Theft of vehicles"),),
    keys=("k1",),
    roles=("searcher",),
    case_required=True,
    case_patterns=("@@-####",),
    min_score=0.5,
    max_k=20,
    authorisation=AuthorisationRule.NONE,
    retention_days=365,
    verifications=2,
    min_similarity=99.0,
    faces=True,
)

# What each column may be. The first value of each is one that is allowed.
RECORDED = ("on", "off")
CALLER = ("key", "role", "stranger")
PURPOSE = ("listed", "none", "unlisted")
CASE = ("fitting", "none", "other")
CASE_RULE = ("required", "free")
THRESHOLD = ("none", "at", "above", "below")
K = ("most", "more")
AUTHORISATION = ("none", "ex_ante", "48h")
STATED = ("both", "reference", "authority", "nothing")
CLOCK = ("none", "running", "over", "granted", "refused")

# recorded caller purpose case case_rule threshold k authorisation stated clock → answer; the first row that
# fits decides, and `*` fits everything.
TABLE = [
    row.split()
    for row in """
    off *        *        *       *        *     *    *       *         *       recording_off
    *   stranger *        *       *        *     *    *       *         *       caller_not_allowed
    *   *        none     *       *        *     *    *       *         *       purpose_missing
    *   *        unlisted *       *        *     *    *       *         *       purpose_not_allowed
    *   *        *        none    required *     *    *       *         *       case_missing
    *   *        *        none    *        *     *    48h     *         *       case_missing
    *   *        *        other   *        *     *    *       *         *       case_malformed
    *   *        *        *       *        below *    *       *         *       threshold_below_floor
    *   *        *        *       *        *     more *       *         *       k_above_maximum
    *   *        *        *       *        *     *    ex_ante reference *       authorisation_missing
    *   *        *        *       *        *     *    ex_ante authority *       authorisation_missing
    *   *        *        *       *        *     *    ex_ante nothing   *       authorisation_missing
    *   *        *        *       *        *     *    48h     *         refused authorisation_refused
    *   *        *        *       *        *     *    48h     *         over    authorisation_overdue
    *   *        *        *       *        *     *    *       *         *       allowed
    """.strip().splitlines()
]
COLUMNS = (RECORDED, CALLER, PURPOSE, CASE, CASE_RULE, THRESHOLD, K, AUTHORISATION, STATED, CLOCK)


def by_table(values: tuple[str, ...]) -> str:
    for *conditions, answer in TABLE:
        if all(want in ("*", value) for want, value in zip(conditions, values, strict=True)):
            return answer
    raise AssertionError(values)


def asked_for(values: tuple[str, ...]) -> tuple[CollectionPolicy, Asked]:
    recorded, caller, purpose, case, case_rule, threshold, k, authorisation, stated, clock = values
    policy = replace(
        POLICY, case_required=case_rule == "required", authorisation=AuthorisationRule(authorisation)
    )
    return policy, Asked(
        justification=Justification(
            purpose={"listed": "theft", "none": "", "unlisted": "investigation"}[purpose],
            case={"fitting": "AB-1234", "none": "", "other": "AB-12345"}[case],
            authorisation="W 12/26" if stated in ("both", "reference") else "",
            authority="District court" if stated in ("both", "authority") else "",
        ),
        k={"most": 20, "more": 21}[k],
        min_score={"none": None, "at": 0.5, "above": 0.75, "below": 0.25}[threshold],
        key_id={"key": "k1", "role": "k2", "stranger": "k2"}[caller],
        roles={"key": ("writer",), "role": ("searcher", "auditor"), "stranger": ("writer",)}[caller],
        at=NOW,
        clock=clock_that_is(clock),
        is_recorded=recorded == "on",
    )


def clock_that_is(state: str) -> CaseClock | None:
    if state == "none":
        return None
    age = {"running": timedelta(hours=47, minutes=59), "over": timedelta(hours=48)}.get(
        state, timedelta(hours=90)
    )
    granted = {"granted": True, "refused": False}.get(state)
    return CaseClock(collection="faces", case="AB-1234", started_at=NOW - age, granted=granted)


def answer_to(values: tuple[str, ...]) -> str:
    rule = refusal_of(*asked_for(values))
    return rule.reason if rule else "allowed"


def test_every_combination_is_decided_as_the_table_says() -> None:
    wrong = [
        (values, answer_to(values), by_table(values))
        for values in product(*COLUMNS)
        if answer_to(values) != by_table(values)
    ]
    assert wrong == []


def test_the_table_reaches_every_reason_of_the_rules() -> None:
    assert {row[-1] for row in TABLE} == {rule.reason.value for rule in RULES} | {"allowed"}
    assert {rule.reason for rule in RULES} == set(RefusalReason) - {RefusalReason.ACCESS_DENIED}


def test_an_empty_policy_allows_nobody_anything() -> None:
    for values in product(*COLUMNS):
        _, asked = asked_for(values)
        assert refusal_of(CollectionPolicy(), asked) is not None
        assert refusal_of(CollectionPolicy(roles=("searcher", "writer"), keys=("k1", "k2")), asked)


@pytest.mark.parametrize(
    ("floor", "asked", "least"),
    [(None, None, None), (0.5, None, 0.5), (None, 0.2, 0.2), (0.5, 0.7, 0.7), (0.0, None, 0.0)],
)
def test_hits_have_the_floor_of_the_policy_at_least(
    floor: float | None, asked: float | None, least: float | None
) -> None:
    _, search = asked_for(tuple(column[0] for column in COLUMNS))
    assert (
        threshold_of(replace(POLICY, min_score=floor, max_k=None), replace(search, min_score=asked)) == least
    )


def test_only_the_first_search_of_a_case_without_authorisation_starts_its_clock() -> None:
    started = {
        values[-3:]
        for values in product(*COLUMNS)
        if answer_to(values) == "allowed" and starts_clock(*asked_for(values))
    }
    assert started == {("48h", stated, "none") for stated in ("reference", "authority", "nothing")}


def changes() -> Iterator[tuple[str, CollectionPolicy, CollectionPolicy]]:
    """Field by field, a policy and a stricter one."""
    more = replace(POLICY, purposes=(*POLICY.purposes, Purpose(code="fraud", text="Fraud")))
    yield "purposes", more, POLICY
    yield "purposes", POLICY, replace(POLICY, purposes=())
    yield "keys", replace(POLICY, keys=("k1", "k2")), POLICY
    yield "roles", POLICY, replace(POLICY, roles=())
    yield "case_required", replace(POLICY, case_required=False), POLICY
    yield "case_patterns", replace(POLICY, case_patterns=()), POLICY
    yield "case_patterns", replace(POLICY, case_patterns=("@@-####", "####")), POLICY
    yield "min_score", replace(POLICY, min_score=None), POLICY
    yield "min_score", POLICY, replace(POLICY, min_score=0.6)
    yield "min_similarity", replace(POLICY, min_similarity=None), POLICY
    yield "min_similarity", POLICY, replace(POLICY, min_similarity=99.5)
    yield "max_k", replace(POLICY, max_k=None), POLICY
    yield "max_k", POLICY, replace(POLICY, max_k=10)
    yield "authorisation", POLICY, replace(POLICY, authorisation=AuthorisationRule.WITHIN_48H)
    yield "authorisation", POLICY, replace(POLICY, authorisation=AuthorisationRule.EX_ANTE)
    yield "retention_days", POLICY, replace(POLICY, retention_days=366)
    yield "retention_days", POLICY, replace(POLICY, retention_days=None)
    yield "verifications", replace(POLICY, verifications=1), POLICY
    yield "faces", replace(POLICY, faces=False), POLICY


@pytest.mark.parametrize(("field", "loose", "strict"), list(changes()))
def test_a_change_that_allows_more_is_named_and_its_reverse_is_not(
    field: str, loose: CollectionPolicy, strict: CollectionPolicy
) -> None:
    assert loosened(strict, loose) == (field,)
    assert loosened(loose, strict) == ()
    assert loosened(None, replace(loose, faces=False)) == ()


def test_every_field_can_loosen_a_policy() -> None:
    assert {field for field, *_ in changes()} == set(CollectionPolicy.__dataclass_fields__)


def test_a_code_with_another_text_is_another_purpose() -> None:
    reworded = replace(POLICY, purposes=(Purpose(code="theft", text="Anything"),))
    assert loosened(POLICY, reworded) == ("purposes",)


def test_whatever_is_allowed_after_a_change_that_loosens_nothing_was_allowed_before() -> None:
    """What `loosened` misses would be let in by one person alone."""
    searches = [asked_for(values)[1] for values in product(*COLUMNS) if values[0] == "on"][::7]
    for _, loose, strict in changes():
        for search in searches:
            if refusal_of(strict, search) is None:
                assert refusal_of(loose, search) is None or loose.authorisation != strict.authorisation


@pytest.mark.parametrize(
    ("case", "pattern", "expected"),
    [
        ("AB-1234", "@@-####", True),
        ("ab-1234", "@@-####", False),
        ("AB-123", "@@-####", False),
        ("AB-12345", "@@-####", False),
        ("AB-12٣4", "@@-####", False),  # a digit of another script is another reference
        ("AB-1234\n", "@@-####", False),
        ("2026/7", "2026/#", True),
        ("2026.7", "2026/#", False),
    ],
)
def test_a_case_fits_its_pattern_place_by_place(case: str, pattern: str, expected: bool) -> None:
    assert fits(case, pattern) is expected


@given(st.text(alphabet="#@A1-.*+(", max_size=64))
def test_a_pattern_has_no_sign_but_two(pattern: str) -> None:
    case = pattern.replace("#", "7").replace("@", "Q")
    assert fits(case, pattern)
    assert not fits(case + "7", pattern)


def test_the_page_of_policies_says_what_the_code_does() -> None:
    assert PAGE.read_text(encoding="utf-8") == make_page(), "run: make settings-doc"
