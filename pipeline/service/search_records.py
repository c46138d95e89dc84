"""The entries of the log about searches: one for each query, whether it was answered or refused."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pipeline.errors import AuditError, ErrorCode, PictorError
from pipeline.search.groups import GroupBy
from pipeline.search.query import Bytes, Object, Query, Text, picture_of
from pipeline.service.accountability import Accountability
from pipeline.service.audit_entries import record_of
from pipeline.service.conditions import condition_json
from pipeline.service.kept_probes import KeptProbes
from pipeline.service.policy_rules import is_authorised
from pipeline.service.probes import probe_of
from pipeline.service.search_values import SearchAnswer, Terms
from pipeline.types import (
    AuditKind,
    AuditOutcome,
    AuditParams,
    AuditReceipt,
    AuditRecord,
    Authorisation,
    AuthorisationRule,
    Candidate,
    Decision,
    Probe,
    ReferenceDb,
    RefusalReason,
    SearchFilter,
)
from pipeline.types.audit import Json

ANSWERED = "answered"
TO_BE_VERIFIED = "to_be_verified"  # the policy wants persons to look at the hits
NOTHING_FOUND = "nothing_found"
FAILED = "failed"  # nothing was told, for example because the index is away
SCORE_DIGITS = 6  # as answers have it


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An answer that nobody has seen yet. Each face of a picture has one of its own, and its own record."""

    query: Query
    probe: Probe
    answer: SearchAnswer
    details: Mapping[str, Json] = field(default_factory=dict)
    other_faces: tuple["Found", ...] = ()


def recorded(
    chunks: Iterable[Sequence[Found]],
    queries: Sequence[Query],
    terms: Terms,
    answers_to: Accountability,
    probes: KeptProbes | None,
) -> Iterator[SearchAnswer]:
    """Give each answer once its record is in the log, and its picture where those who verify find it.

    A search that fails is recorded as far as it got.

    Raises:
        AuditError: it could not be written.
        TransientError: the picture could not be kept.
    """
    recorded_queries = 0
    try:
        for chunk in chunks:
            every = [one for found in chunk for one in (found, *found.other_faces)]
            records = [_answer_record(found, terms, answers_to) for found in every]
            receipts = answers_to.record(records)
            recorded_queries += len(chunk)
            _keep_probes(every, receipts, probes)
            of_each = iter(receipts)
            for found in chunk:
                answer = replace(found.answer, receipt=next(of_each))
                others = [replace(other.answer, receipt=next(of_each)) for other in found.other_faces]
                yield replace(answer, other_faces=tuple(others))
    except AuditError:
        raise
    except Exception as err:
        unanswered = queries[recorded_queries:]
        answers_to.record([_failure_record(query, terms, err, answers_to) for query in unanswered])
        raise


def _failure_record(query: Query, terms: Terms, error: Exception, answers_to: Accountability) -> AuditRecord:
    code = error.code if isinstance(error, PictorError) else ErrorCode.INTERNAL_ERROR
    return _record(
        terms,
        ended_at=answers_to.now(),
        probe=probe_of(query),
        decision=Decision(policy_version=_version(terms)),
        outcome=FAILED,
        details={"query": query.text, "error": code.value, **_embedding(terms), **_words(query)},
    )


def refusal_records(
    queries: Sequence[Query], terms: Terms, reason: RefusalReason, *, ended_at: datetime
) -> list[AuditRecord]:
    decision = Decision(
        outcome=AuditOutcome.REFUSED, policy_version=_version(terms), reason_code=reason.value
    )
    return [
        _record(
            terms,
            ended_at=ended_at,
            probe=probe_of(query),
            decision=decision,
            outcome=AuditOutcome.REFUSED.value,
            details={"query": query.text, **_embedding(terms), **_words(query), **_floor(terms)},
        )
        for query in queries
    ]


def _answer_record(found: Found, terms: Terms, answers_to: Accountability) -> AuditRecord:
    answer, target = found.answer, found.answer.target
    assert target is not None, "it was searched"
    count = answers_to.row_count(target)
    return _record(
        terms,
        ended_at=answers_to.now(),
        probe=found.probe,
        reference_db=ReferenceDb(
            collection=terms.request.collection,
            index_generation=target.generation,
            model_fingerprint=answers_to.fingerprint_of(target, answer.embedding),
            row_count=count.rows,
        ),
        decision=Decision(policy_version=_version(terms)),
        candidates=tuple(
            Candidate(id=hit.id, score=round(hit.score, SCORE_DIGITS), rank=rank)
            for rank, hit in enumerate(answer.hits, 1)
        ),
        outcome=_outcome(answer),
        recipients=_recipients(terms),
        details={
            "query": found.query.text,
            "error": answer.error,
            "rows_counted_at": count.at.isoformat(),
            "verifications": answer.to_verify,
            **_embedding(terms),
            **_words(found.query),
            **_floor(terms),
            **_place_of_probe(found),
            **_grouping(found, terms),
            **found.details,
        },
    )


def _recipients(terms: Terms) -> tuple[str, ...]:
    """Who gets the answer: the person it is for, where one is named, and whoever holds the key."""
    caller = terms.caller
    return tuple(filter(None, (caller.on_behalf_of, caller.who)))


def _embedding(terms: Terms) -> dict[str, Json]:
    """Which embedding was asked for, where it is not the first."""
    return {"embedding": terms.request.embedding} if terms.request.embedding else {}


def _floor(terms: Terms) -> dict[str, Json]:
    """Which similarity the policy wants, as the cosine that it was, and by which calibration."""
    if terms.policy is None or terms.floor is None:
        return {}
    return {
        "min_similarity": terms.policy.min_similarity,
        "similarity_floor": round(terms.floor, SCORE_DIGITS),
        "calibration": terms.calibration,
    }


def _place_of_probe(found: Found) -> dict[str, Json]:
    """Whoever verifies has the object fetched again."""
    picture = picture_of(found.query)
    if isinstance(picture, Object) and found.answer.to_verify:
        return {"probe_object": [picture.bucket, picture.key]}
    return {}


def _words(query: Query) -> dict[str, Json]:
    """The texts themselves: a digest would not tell who was searched for (decision 0147)."""
    if not isinstance(query, Text):
        return {}
    weights = query.weights
    return {
        "words": {
            "text": list(query.prompts),
            "not": list(query.unwanted),
            "weights": {"text": weights.text, "not": weights.unwanted, "picture": weights.picture},
        }
    }


def _grouping(found: Found, terms: Terms) -> dict[str, Json]:
    """Of a search whose hits stand for persons or images, and who they are."""
    group_by = terms.request.group_by
    if not group_by:
        return {}
    return {"group_by": group_by.value} | (
        {"persons": list(found.answer.persons)} if group_by is GroupBy.PERSON else {}
    )


def _keep_probes(
    every: Sequence[Found], receipts: Sequence[AuditReceipt | None], probes: KeptProbes | None
) -> None:
    # After the records, so that no picture is kept of which the log does not know.
    for found, receipt in zip(every, receipts, strict=True):
        is_wanted = found.answer.to_verify and found.answer.hits
        picture = picture_of(found.query)
        if probes is not None and receipt is not None and is_wanted and isinstance(picture, Bytes):
            probes.keep(receipt.record_id, picture.body)


def _outcome(answer: SearchAnswer) -> str:
    if answer.error:
        return answer.code
    if not answer.hits:
        return NOTHING_FOUND
    return TO_BE_VERIFIED if answer.to_verify else ANSWERED


def _record(terms: Terms, *, ended_at: datetime, **rest: Any) -> AuditRecord:
    """Args: `rest` are other fields of the record."""
    request, caller, why = terms.request, terms.caller, terms.request.justification
    usual: dict[str, Any] = {"reference_db": ReferenceDb(collection=request.collection)}
    return record_of(
        AuditKind.SEARCH,
        caller,
        started_at=terms.started_at,
        ended_at=ended_at,
        purpose_code=why.purpose,
        offence_code=why.offence,
        case_ref=why.case,
        authorisation=_authorisation(terms),
        params=AuditParams(
            k=request.k, threshold=request.min_score, metric="cosine", filters=_filters(request.where)
        ),
        retention_class=terms.policy.retention_class if terms.policy else "",
        **(usual | rest),
    )


def _version(terms: Terms) -> int | None:
    return terms.version.version if terms.version else None


def _authorisation(terms: Terms) -> Authorisation:
    """What was stated, or else what is known of the case."""
    why, clock = terms.request.justification, terms.clock
    if is_authorised(why):
        return Authorisation(
            ref=why.authorisation, authority=why.authority, type=AuthorisationRule.EX_ANTE.value
        )
    if clock is None:
        return Authorisation(ref=why.authorisation, authority=why.authority)
    return Authorisation(
        ref=clock.authorisation,
        authority=clock.authority,
        type=AuthorisationRule.WITHIN_48H.value,
        granted_at=clock.decided_at if clock.granted else None,
        expires_at=None if clock.granted else clock.ends_at,
    )


def _filters(where: SearchFilter) -> Mapping[str, Json]:
    given: Mapping[str, Json] = {
        "bucket": where.bucket,
        "prefix": where.key_prefix,
        "metadata": dict(where.metadata),
        "condition": condition_json(where.condition) if where.condition else None,
    }
    return {name: value for name, value in given.items() if value}
