"""On which terms somebody may search a collection: their rights and its policy. A refusal is recorded."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import DeniedError, PolicyError
from pipeline.search.query import Object, Query, picture_of
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.accountability import Accountability
from pipeline.service.policy_rules import Asked, Rule, refusal_of, starts_clock, threshold_of
from pipeline.service.search_records import refusal_records
from pipeline.service.search_values import SearchRequest, Terms
from pipeline.types import AuthorisationRule, PolicyVersion, RefusalReason


def terms_of(
    queries: Sequence[Query], request: SearchRequest, caller: Caller, answers_to: Accountability
) -> Terms:
    """Ask the rights of the caller and the policy of the collection.

    Raises:
        DeniedError: the caller may not search, or not this collection or bucket.
        PolicyError: the policy does not allow it.
        AuditError: the refusal could not be recorded.
    """
    terms = Terms(request=request, caller=caller, started_at=answers_to.now())
    try:
        _check_rights(queries, request, caller)
    except DeniedError:
        _record_refusal(queries, terms, RefusalReason.ACCESS_DENIED, answers_to)
        raise
    version = answers_to.policy_of(request.collection)
    terms = replace(terms, version=version)
    asked = _asked(terms, answers_to)
    terms = replace(terms, clock=asked.clock, request=_with_floor(request, version, asked))
    if version is None:
        return terms
    if rule := refusal_of(version.policy, asked):
        record_id = _record_refusal(queries, terms, rule.reason, answers_to)
        raise PolicyError(rule.reason, _words(rule, version, request), record_id)
    if starts_clock(version.policy, asked):
        clock = answers_to.policies.start_clock(
            request.collection, request.justification.case, terms.started_at
        )
        return replace(terms, clock=clock)
    return terms


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
    )


def _with_floor(request: SearchRequest, version: PolicyVersion | None, asked: Asked) -> SearchRequest:
    floor = threshold_of(version.policy if version else None, asked)
    return replace(request, min_score=floor)


def _record_refusal(
    queries: Sequence[Query], terms: Terms, reason: RefusalReason, answers_to: Accountability
) -> str:
    """Returns the id of the first record."""
    records = refusal_records(queries, terms, reason, ended_at=answers_to.now())
    answers_to.record(records)
    return records[0].record_id if records and answers_to.is_recording else ""


def _words(rule: Rule, version: PolicyVersion, request: SearchRequest) -> str:
    policy, why = version.policy, request.justification
    said = f"policy {version.version} of collection {version.collection!r}: "
    match rule.reason:
        case RefusalReason.PURPOSE_MISSING | RefusalReason.PURPOSE_NOT_ALLOWED:
            codes = ", ".join(purpose.code for purpose in policy.purposes) or "none"
            return f"{said}purpose {why.purpose or 'none'} is stated; allowed are {codes}"
        case RefusalReason.CASE_MISSING:
            return f"{said}a case is needed, and none is stated"
        case RefusalReason.CASE_MALFORMED:
            patterns = " or ".join(policy.case_patterns)
            return f"{said}case {why.case!r} is stated; {patterns} is expected (# is a digit, @ a letter)"
        case RefusalReason.THRESHOLD_BELOW_FLOOR:
            return f"{said}the least score is {request.min_score}; {policy.min_score} or more is allowed"
        case RefusalReason.K_ABOVE_MAXIMUM:
            return f"{said}k is {request.k}; at most {policy.max_k} hits are allowed"
        case _:
            return f"{said}{rule.when}. {rule.remedy}"
