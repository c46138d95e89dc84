"""What the policy of a collection says of one search: a table of rules, and nothing else.

docs/reference/policies.md is made from RULES.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pipeline.service.case_pattern import fits
from pipeline.types import AuthorisationRule, CaseClock, CollectionPolicy, Justification, RefusalReason


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A search as the rules see it.

    `roles` and `key_id` are those of the caller. `clock` is that of the case, if it was started. `floor` is
    the similarity of the policy as a cosine of the collection's model, if it has one.
    """

    justification: Justification
    k: int
    min_score: float | None
    roles: tuple[str, ...]
    at: datetime
    key_id: str = ""
    clock: CaseClock | None = None
    is_recorded: bool = True
    floor: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """The search is refused with `reason` where `refuses` holds. `when` and `remedy` are for people."""

    reason: RefusalReason
    refuses: Callable[[CollectionPolicy, Asked], bool]
    when: str
    remedy: str


def _caller_not_allowed(policy: CollectionPolicy, asked: Asked) -> bool:
    by_key = bool(asked.key_id) and asked.key_id in policy.keys
    return not by_key and not set(asked.roles) & set(policy.roles)


def _needs_case(policy: CollectionPolicy) -> bool:
    return policy.case_required or policy.authorisation is AuthorisationRule.WITHIN_48H


def _case_malformed(policy: CollectionPolicy, asked: Asked) -> bool:
    case = asked.justification.case
    return bool(case and policy.case_patterns) and not any(fits(case, p) for p in policy.case_patterns)


def _below_floor(policy: CollectionPolicy, asked: Asked) -> bool:
    return asked.min_score is not None and threshold_of(policy, asked) != asked.min_score


def _undecided_in_time(policy: CollectionPolicy, asked: Asked) -> bool:
    clock = asked.clock if policy.authorisation is AuthorisationRule.WITHIN_48H else None
    return clock is not None and clock.granted is None and asked.at >= clock.ends_at


def is_authorised(justification: Justification) -> bool:
    """Whether the searcher names an authorisation: its reference and whose it is."""
    return bool(justification.authorisation and justification.authority)


RULES = (
    Rule(
        RefusalReason.RECORDING_OFF,
        lambda _policy, asked: not asked.is_recorded,
        "recording is off",
        "Unset `PICTOR_AUDIT`.",
    ),
    Rule(
        RefusalReason.CALLER_NOT_ALLOWED,
        _caller_not_allowed,
        "the policy names neither the caller's key nor one of their roles",
        "Ask whoever sets the policy.",
    ),
    Rule(
        RefusalReason.PURPOSE_MISSING,
        lambda _policy, asked: not asked.justification.purpose,
        "no purpose is stated",
        "State the code of one of the policy's purposes.",
    ),
    Rule(
        RefusalReason.PURPOSE_NOT_ALLOWED,
        lambda policy, asked: asked.justification.purpose not in {p.code for p in policy.purposes},
        "the purpose is no code of the policy",
        "State the code of one of the policy's purposes.",
    ),
    Rule(
        RefusalReason.CASE_MISSING,
        lambda policy, asked: _needs_case(policy) and not asked.justification.case,
        "no case is stated, and the policy wants one or has `48h`",
        "State the reference of the case.",
    ),
    Rule(
        RefusalReason.CASE_MALFORMED,
        _case_malformed,
        "the case fits none of the policy's patterns, where it has any",
        "Write the reference as the patterns have it.",
    ),
    Rule(
        RefusalReason.THRESHOLD_BELOW_FLOOR,
        _below_floor,
        "the least score that is asked for is below the policy's",
        "Ask for that score or a higher one, or leave it out.",
    ),
    Rule(
        RefusalReason.K_ABOVE_MAXIMUM,
        lambda policy, asked: policy.max_k is not None and asked.k > policy.max_k,
        "more hits are asked for than the policy has",
        "Ask for fewer hits (k).",
    ),
    Rule(
        RefusalReason.AUTHORISATION_MISSING,
        lambda policy, asked: (
            policy.authorisation is AuthorisationRule.EX_ANTE and not is_authorised(asked.justification)
        ),
        "the policy has `ex_ante`, and the reference or the authority is not stated",
        "State both.",
    ),
    Rule(
        RefusalReason.AUTHORISATION_REFUSED,
        lambda policy, asked: (
            policy.authorisation is AuthorisationRule.WITHIN_48H
            and asked.clock is not None
            and asked.clock.granted is False
        ),
        "the policy has `48h`, and the authority refused the case",
        "The collection stays closed to this case.",
    ),
    Rule(
        RefusalReason.AUTHORISATION_OVERDUE,
        _undecided_in_time,
        "the policy has `48h`, and nothing was entered 48 hours after the first search for the case",
        "Have an approver enter what the authority decided.",
    ),
)
"""In the order in which they are looked at. The first one that refuses gives the reason."""


def refusal_of(policy: CollectionPolicy, asked: Asked) -> Rule | None:
    """The rule that refuses this search, or None: it is allowed."""
    return next((rule for rule in RULES if rule.refuses(policy, asked)), None)


def threshold_of(policy: CollectionPolicy | None, asked: Asked) -> float | None:
    """The least score of hits: what was asked for, and the policy's floor at least."""
    scores = (policy.min_score if policy else None, asked.floor, asked.min_score)
    return max((score for score in scores if score is not None), default=None)


def starts_clock(policy: CollectionPolicy, asked: Asked) -> bool:
    """Whether an allowed search is the first one of its case without an authorisation."""
    return (
        policy.authorisation is AuthorisationRule.WITHIN_48H
        and asked.clock is None
        and not is_authorised(asked.justification)
    )
