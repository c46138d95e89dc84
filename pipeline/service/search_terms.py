"""On which terms somebody may search a collection: their rights and its policy. A refusal is recorded."""

import math
from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import ArgumentError, DeniedError, PolicyError, TargetError, TransientError
from pipeline.evaluation.scale import UNCALIBRATED
from pipeline.search.query import Object, Query, picture_of
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.accountability import Accountability
from pipeline.service.policy_rules import Asked, Rule, refusal_of, starts_clock, threshold_of
from pipeline.service.search_records import refusal_records
from pipeline.service.search_values import SearchRequest, Terms
from pipeline.types import (
    AuthorisationRule,
    CollectionPolicy,
    CollectionRef,
    Justification,
    PolicyVersion,
    RefusalReason,
)


def terms_of(
    queries: Sequence[Query], request: SearchRequest, caller: Caller, answers_to: Accountability
) -> Terms:
    """Ask the rights of the caller and the policy of the collection.

    Raises:
        DeniedError: the caller may not search, or not this collection or bucket.
        PolicyError: the policy does not allow it.
        AuditError: the refusal could not be recorded.
    """
    request = _with_justification(request, caller)
    terms = Terms(request=request, caller=caller, started_at=answers_to.now())
    try:
        _check_rights(queries, request, caller)
    except DeniedError:
        _record_refusal(queries, terms, RefusalReason.ACCESS_DENIED, answers_to)
        raise
    version = answers_to.policy_of(request.collection)
    if version is None:
        return terms
    terms = _with_scale(replace(terms, version=version), version.policy, answers_to)
    asked = _asked(terms, answers_to)
    if rule := refusal_of(version.policy, asked):
        record_id = _record_refusal(queries, terms, rule.reason, answers_to)
        raise PolicyError(rule.reason, _words(rule, version, terms), record_id)
    least = threshold_of(version.policy, asked)
    terms = replace(terms, clock=asked.clock, request=replace(request, min_score=least))
    if starts_clock(version.policy, asked):
        clock = answers_to.policies.start_clock(
            request.collection, request.justification.case, terms.started_at
        )
        return replace(terms, clock=clock)
    return terms


def check_floor(target: CollectionRef, terms: Terms, answers_to: Accountability) -> None:
    """Raises TransientError: another model answers than the one whose cosine the floor is."""
    floor, _ = _floor_of(terms, terms.policy, target, answers_to) if terms.policy else (None, "")
    if floor is not None and (terms.request.min_score is None or terms.request.min_score < floor):
        raise TransientError(f"collection {target.name!r} was given another model just now; search again")


def _with_scale(terms: Terms, policy: CollectionPolicy, answers_to: Accountability) -> Terms:
    """With the similarity of the policy as a cosine of the model that answers."""
    if policy.min_similarity is None or answers_to.index is None:
        return terms
    try:
        target = answers_to.index.live(terms.request.collection)
        floor, calibration = _floor_of(terms, policy, target, answers_to)
    except (ArgumentError, TargetError):
        return terms  # the search itself says that there is no such collection, or no such embedding in it
    return replace(terms, floor=floor, calibration=calibration)


def _floor_of(
    terms: Terms, policy: CollectionPolicy, target: CollectionRef, answers_to: Accountability
) -> tuple[float | None, str]:
    """The least cosine, and the version of the calibration that says so."""
    if policy.min_similarity is None:
        return None, ""
    scale = answers_to.scale_of(target, terms.request.embedding)
    return scale.cosine_of(policy.min_similarity), scale.version


def _with_justification(request: SearchRequest, caller: Caller) -> SearchRequest:
    """The key's for a search that states nothing: one case must not meet the authorisation of another."""
    if request.justification == Justification():
        return replace(request, justification=caller.justification)
    return request


def _check_rights(queries: Sequence[Query], request: SearchRequest, caller: Caller) -> None:
    require(caller, Permission.SEARCH)
    pictures = map(picture_of, queries)
    buckets = [picture.bucket for picture in pictures if isinstance(picture, Object)]
    require_names(caller, collection=request.collection, buckets=buckets)


def _asked(terms: Terms, answers_to: Accountability) -> Asked:
    request, why = terms.request, terms.request.justification
    has_clock = terms.policy is not None and terms.policy.authorisation is AuthorisationRule.WITHIN_48H
    return Asked(
        justification=why,
        k=request.k,
        min_score=request.min_score,
        roles=terms.caller.roles,
        key_id=terms.caller.key_id,
        at=terms.started_at,
        clock=answers_to.policies.find_clock(request.collection, why.case) if has_clock else None,
        is_recorded=answers_to.is_recording,
        floor=terms.floor,
    )


def _record_refusal(
    queries: Sequence[Query], terms: Terms, reason: RefusalReason, answers_to: Accountability
) -> str:
    """Returns the id of the first record."""
    records = refusal_records(queries, terms, reason, ended_at=answers_to.now())
    answers_to.record(records)
    return records[0].record_id if records and answers_to.is_recording else ""


def _words(rule: Rule, version: PolicyVersion, terms: Terms) -> str:
    policy, request, why = version.policy, terms.request, terms.request.justification
    said = f"policy {version.version} of collection {version.collection!r}: "
    match rule.reason:
        case RefusalReason.PURPOSE_MISSING | RefusalReason.PURPOSE_NOT_ALLOWED:
            codes = ", ".join(purpose.code for purpose in policy.purposes) or "none"
            stated = f"purpose {why.purpose}" if why.purpose else "no purpose"
            return f"{said}{stated} is stated; allowed are {codes}"
        case RefusalReason.CASE_MISSING:
            return f"{said}a case is needed, and none is stated"
        case RefusalReason.CASE_MALFORMED:
            patterns = " or ".join(policy.case_patterns)
            return f"{said}case {why.case!r} is stated; {patterns} is expected (# is a digit, @ a letter)"
        case RefusalReason.THRESHOLD_BELOW_FLOOR:
            return f"{said}the least score is {request.min_score}; {_least(policy, terms)} or more is allowed"
        case RefusalReason.K_ABOVE_MAXIMUM:
            return f"{said}k is {request.k}; at most {policy.max_k} hits are allowed"
        case _:
            return f"{said}{rule.when}. {rule.remedy}"


def _least(policy: CollectionPolicy, terms: Terms) -> str:
    if terms.floor is None or (policy.min_score is not None and policy.min_score > terms.floor):
        return str(policy.min_score)
    said = terms.calibration
    how = "without a calibration" if said == UNCALIBRATED else f"by calibration {said}"
    shown = math.ceil(terms.floor * 10_000) / 10_000  # what is typed off the message is enough
    return f"{shown} (similarity {policy.min_similarity:g} {how})"
