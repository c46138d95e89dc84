"""The JSON that leaves Pictor: every door gives the same fields. Golden-file tested."""

import base64
from dataclasses import asdict
from typing import assert_never

from pipeline.errors import ErrorCode, PictorError, PolicyError
from pipeline.names import MAIN_EMBEDDING
from pipeline.service.associations import FacesChanged, RefusedFace
from pipeline.service.estimate import Estimate
from pipeline.service.faces import Comparison, FoundFaces
from pipeline.service.persons import ShownPerson
from pipeline.service.search import SearchAnswer
from pipeline.service.verifications import ShownMatch
from pipeline.types import (
    ApiKey,
    AuditReceipt,
    CollectionInfo,
    Failure,
    Int8Recall,
    Job,
    Match,
    ModelSpec,
    PartScores,
    PersonDecision,
    SearchHit,
)


def answer_json(answer: SearchAnswer) -> dict[str, object]:
    hits = [hit_json(hit) for hit in answer.hits]
    for hit, person in zip(hits, answer.persons, strict=False):  # none, or one for each hit
        hit["person"] = person
    found: dict[str, object] = {"query": answer.query, "hits": hits}
    found |= {"embedding": answer.embedding} if answer.embedding else {}
    found |= _receipt_json(answer.receipt) if answer.receipt else {"recording": "off"}
    found |= {"to_verify": answer.to_verify} if answer.to_verify else {}
    found |= {"face": asdict(answer.face.box)} if answer.face else {}
    if answer.other_faces:
        found["other_faces"] = [answer_json(other) for other in answer.other_faces]
    return found | ({"error": answer.error, "code": answer.code} if answer.error else {})


def faces_json(found: FoundFaces) -> dict[str, object]:
    faces = [
        asdict(face) | {"box": asdict(box), "eyes_px": round(face.eyes_px, 2), "turn": round(face.turn, 2)}
        for box, face in found.faces
    ]
    return {"width": found.width, "height": found.height, "faces": faces}


def comparison_json(found: Comparison) -> dict[str, object]:
    told: dict[str, object] = {
        "face": asdict(found.face),
        "matches": [{"box": asdict(box), "score": round(score, 6)} for box, score in found.matches],
        "unmatched": [asdict(box) for box in found.unmatched],
    }
    told |= _receipt_json(found.receipt) if found.receipt else {"recording": "off"}
    return told | ({"to_verify": found.to_verify} if found.to_verify else {})


def _receipt_json(receipt: AuditReceipt) -> dict[str, object]:
    inclusion = {
        "index": receipt.index,
        "commitment": base64.b64encode(receipt.commitment).decode(),
        "proof": receipt.proof,
    }
    return {"receipt": receipt.record_id, "inclusion": inclusion}


def error_json(error: PictorError) -> dict[str, object]:
    told: dict[str, object] = {"error": str(error), "code": error.code.value}
    if isinstance(error, PolicyError):
        told |= {"reason": str(error.reason), "receipt": error.record_id}
    return told


def http_status_of(code: ErrorCode) -> int:
    """The status of an HTTP answer to a request that an error of this code ended."""
    match code:
        case ErrorCode.INVALID_ARGUMENT | ErrorCode.BAD_MESSAGE:
            return 400
        case ErrorCode.UNAUTHENTICATED:
            return 401
        case ErrorCode.DENIED | ErrorCode.REFUSED_BY_POLICY:
            return 403
        case ErrorCode.NOT_FOUND:
            return 404
        case ErrorCode.CONFLICT | ErrorCode.LIMIT_REACHED | ErrorCode.MODEL_MISMATCH:
            return 409
        case ErrorCode.IMAGE_REJECTED | ErrorCode.TARGET_UNUSABLE | ErrorCode.MODEL_UNUSABLE:
            return 422
        case ErrorCode.INTERNAL_ERROR | ErrorCode.MISCONFIGURED:
            return 500
        case (
            ErrorCode.UNAVAILABLE
            | ErrorCode.AUDIT_UNAVAILABLE
            | ErrorCode.PROCESS_UNFIT
            | ErrorCode.CREDENTIALS_REFUSED
        ):
            return 503
        case _:
            assert_never(code)


def hit_json(hit: SearchHit) -> dict[str, object]:
    """`vector` is there where it was asked for, and `parts` where a query has several."""
    vector = {} if hit.vector is None else {"vector": hit.vector.tolist()}
    parts = {} if hit.parts is None else {"parts": _parts_json(hit.parts)}
    return (
        vector
        | parts
        | {
            "id": hit.id,
            "bucket": hit.bucket,
            "key": hit.key,
            "score": round(hit.score, 6),
            "width": hit.width,
            "height": hit.height,
            "size_bytes": hit.size_bytes,
            "etag": hit.etag,
            "indexed_at": hit.indexed_at.isoformat(),
            "metadata": dict(hit.metadata),
        }
    )


def _parts_json(parts: PartScores) -> dict[str, object]:
    told: dict[str, object] = {"text": list(parts.texts)} if parts.texts else {}
    told |= {"not": list(parts.unwanted)} if parts.unwanted else {}
    return told | ({} if parts.picture is None else {"picture": parts.picture})


def job_json(job: Job) -> dict[str, object]:
    counts = job.counts
    return {
        "job_id": job.job_id,
        "state": job.state.value,
        "driver": job.driver,
        "source": job.request.location,
        "collection": job.request.collection,
        "model": job.request.model_name,
        "scanned": counts.scanned,
        "indexed": counts.indexed,
        "unchanged": counts.unchanged,
        "failed": counts.failed,
        "pending": counts.pending,
        "ignored": counts.ignored,
        "removed": counts.removed,
        "faces_found": counts.faces_found,
        "without_faces": counts.without_faces,
        "planned": job.planned,
        "error": job.error,
        "created_at": job.created_at.isoformat(),
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
        "pruned_at": job.pruned_at.isoformat() if job.pruned_at else None,
    }


def estimate_json(estimate: Estimate) -> dict[str, object]:
    pace, seconds = estimate.pace, estimate.seconds
    return {
        "complete": estimate.is_complete,
        "listed": estimate.listed,
        "ignored": estimate.ignored,
        "unchanged": estimate.unchanged,
        "objects": estimate.objects,
        "size_bytes": estimate.size_bytes,
        "vector_bytes": estimate.vector_bytes,
        "objects_per_second": round(pace.objects / pace.seconds, 3) if pace is not None else None,
        "measured_in": pace.job_id if pace is not None else None,
        "seconds": round(seconds, 1) if seconds is not None else None,
    }


def failure_json(failure: Failure) -> dict[str, object]:
    return {
        "key": failure.ref.key,
        "stage": failure.stage.value,
        "reason": failure.reason.value,
        "detail": failure.detail,
        "bucket": failure.ref.bucket,
        "etag": failure.ref.etag,
        "size_bytes": failure.ref.size_bytes,
        "id": failure.ref.image_id,
    }


def collection_json(info: CollectionInfo) -> dict[str, object]:
    return {
        "name": info.name,
        "rows": info.rows,
        "model": info.model_name,
        "model_source": info.model_address,
        "fingerprint": info.fingerprint,
        "dim": info.dim,
        "vector_type": info.vector_type,
        "precision": info.precision,
        **_int8_json(info.int8),
        **({"embeddings": _embeddings_json(info)} if info.beside else {}),
    }


def _int8_json(found: Int8Recall | None) -> dict[str, object]:
    return {"int8": asdict(found) | {"recall_at_10": round(found.recall_at_10, 4)}} if found else {}


def _embeddings_json(info: CollectionInfo) -> list[dict[str, object]]:
    """Of a collection with several. The first is called as a search may call it."""
    return [
        {
            "name": name,
            "model": of_it.model_name,
            "fingerprint": of_it.fingerprint,
            "dim": of_it.dim,
            "reads_text": of_it.reads_text,
        }
        for name, of_it in ({MAIN_EMBEDDING: info} | dict(sorted(info.beside.items()))).items()
    ]


def generation_json(info: CollectionInfo) -> dict[str, object]:
    return {
        "fingerprint": info.fingerprint,
        "model": info.model_name,
        "rows": info.rows,
        "live": info.live,
        "precision": info.precision,
    }


def model_json(spec: ModelSpec) -> dict[str, object]:
    """`source` is the address of the model."""
    return {
        "name": spec.name,
        "source": spec.address,
        "architecture": spec.architecture,
        "fingerprint": spec.fingerprint,
        "dim": spec.dim,
        "preprocessing": asdict(spec.preprocessing),
        "capabilities": [capability.value for capability in spec.capabilities],
        **_int8_json(spec.int8),
        **({"beside": {one.name: model_json(one.spec) for one in spec.beside}} if spec.beside else {}),
    }


def match_json(match: Match) -> dict[str, object]:
    """Of whoever may not see what persons decided."""
    return {
        "id": match.match_id,
        "receipt": match.search_id,
        "rank": match.rank,
        "image_id": match.candidate_id,
        "score": match.score,
        "collection": match.collection,
        "state": match.state.value,
        "closed": match.is_closed,
        "persons_needed": match.persons_needed,
        "searched_at": match.opened_at.isoformat(),
    }


def shown_match_json(shown: ShownMatch) -> dict[str, object]:
    return match_json(shown.match) | {
        "purpose": shown.purpose,
        "case": shown.case,
        "probe_sha256": shown.probe.sha256,
        "probe_source": shown.probe.source,
        "own": _decision_json(shown.own) if shown.own else None,
        "decisions": [_decision_json(made) for made in shown.decisions],
    }


def _decision_json(made: PersonDecision) -> dict[str, object]:
    return {
        "person": made.person,
        "decision": made.decision.value,
        "reason": made.reason,
        "at": made.at.isoformat(),
        "receipt": made.record_id,
    }


def person_json(shown: ShownPerson) -> dict[str, object]:
    return {
        "id": shown.person.person_id,
        "state": shown.state.value,
        "faces": list(shown.faces),
        "created_at": shown.person.created_at.isoformat(),
    }


def faces_changed_json(done: FacesChanged) -> dict[str, object]:
    return {
        "person": person_json(done.person),
        "changed": list(done.changed),
        "refused": [_refused_json(each) for each in done.refused],
    }


def _refused_json(each: RefusedFace) -> dict[str, object]:
    told: dict[str, object] = {"face": each.face, "reason": each.reason.value}
    told |= {"person": each.owner} if each.owner else {}
    return told | ({"score": round(each.score, 6)} if each.score is not None else {})


def key_json(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.key_id,
        "name": key.name,
        "tenant": key.tenant,
        "roles": [role.value for role in key.roles],
        "collections": list(key.collections),
        "buckets": list(key.buckets),
        "acts_for_others": key.acts_for_others,
        "justification": asdict(key.justification),
        "created_at": key.created_at.isoformat(),
        "created_by": key.created_by,
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
        "replaces": key.replaces,
    }
