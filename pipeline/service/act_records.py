"""The entries of the log about what callers change: jobs, persons, keys and more. Each precedes its act."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pipeline.service.access import Caller
from pipeline.service.accountability import Accountability
from pipeline.service.audit_entries import record_of
from pipeline.types import ApiKey, AuditKind, CollectionInfo, CollectionRef, JobRequest, ReferenceDb
from pipeline.types.audit import Json

IDS_OF_ENTRY = 10_000  # 350 kB of JSON


def enter_job(job_id: str, request: JobRequest, answers_to: Accountability, caller: Caller) -> None:
    """Somebody submits a job. Submitting it again, or letting it go on, is an entry of its own.

    Raises:
        AuditError: it could not be recorded, so no job may be made.
    """
    details: dict[str, Json] = {
        "job_id": job_id,
        "source": request.location,
        "include": list(request.include),
        "exclude": list(request.exclude),
        **request.sync,
    }
    record = record_of(
        AuditKind.JOB,
        caller,
        reference_db=_reference(request.target),
        outcome="submitted",
        details=details,
    )
    answers_to.record([record])


def enter_indexing(
    image_ids: Sequence[str], source: str, target: CollectionRef, answers_to: Accountability, caller: Caller
) -> None:
    """Somebody indexes a picture without a job. Raises AuditError as `enter_job` does."""
    details: dict[str, Json] = {"source": source, "image_ids": list(image_ids)}
    record = record_of(
        AuditKind.JOB, caller, reference_db=_reference(target), outcome="indexed", details=details
    )
    answers_to.record([record])


def enter_deletion(
    image_ids: Sequence[str], collection: str, answers_to: Accountability, caller: Caller
) -> None:
    """Somebody takes images out of a collection. Raises AuditError as `enter_job` does."""
    parts = [image_ids[start : start + IDS_OF_ENTRY] for start in range(0, len(image_ids), IDS_OF_ENTRY)]
    where = ReferenceDb(collection=collection)
    answers_to.record(
        [
            record_of(
                AuditKind.DELETION,
                caller,
                reference_db=where,
                outcome="images",
                details={"image_ids": list(part)},
            )
            for part in parts
        ]
    )


def enter_person_change(
    act: str,
    person_id: str,
    target: CollectionRef,
    answers_to: Accountability,
    caller: Caller,
    *,
    faces: Sequence[str] = (),
    scores: Sequence[float] = (),
) -> None:
    """Somebody makes or deletes a person, or says which faces are theirs. Raises AuditError as `enter_job`.

    Args:
        faces: ids of the rows that change hands.
        scores: cosine of each to the mean of the faces that the person had; empty where there were none.
    """
    details: dict[str, Json] = {"person": person_id, "faces": list(faces)}
    if scores:
        details["scores"] = list(scores)
    where = _reference(target)
    answers_to.record(
        [record_of(AuditKind.PERSON_CHANGE, caller, reference_db=where, outcome=act, details=details)]
    )


def enter_tag_change(
    act: str, details: Mapping[str, Json], info: CollectionInfo, answers_to: Accountability, caller: Caller
) -> None:
    """Somebody changes the tags of a collection. Raises AuditError as `enter_job` does."""
    where = _reference(info.ref)
    answers_to.record(
        [record_of(AuditKind.COLLECTION_CHANGE, caller, reference_db=where, outcome=act, details=details)]
    )


def enter_drop(what: str, info: CollectionInfo, answers_to: Accountability, caller: Caller) -> None:
    """Somebody deletes a whole collection or generation. Raises AuditError as `enter_job` does.

    Args:
        what: "collection" or "generation".
        info: of the generation that is dropped, or of the live one.
    """
    where = _reference(info.ref, rows=info.rows)
    answers_to.record([record_of(AuditKind.DELETION, caller, reference_db=where, outcome=what)])


def enter_key_change(act: str, key: ApiKey, answers_to: Accountability, caller: Caller) -> None:
    """Somebody makes, rotates or revokes a key. Its text is in no entry, and neither is its digest.

    Raises:
        AuditError: it could not be recorded, so the key must stay as it is.
    """
    details: dict[str, Json] = {
        "key_id": key.key_id,
        "name": key.name,
        "tenant": key.tenant,
        "roles": [role.value for role in key.roles],
        "collections": list(key.collections),
        "buckets": list(key.buckets),
        "acts_for_others": key.acts_for_others,
        "justification": asdict(key.justification),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "replaces": key.replaces,
    }
    answers_to.record([record_of(AuditKind.KEY_CHANGE, caller, outcome=act, details=details)])


def _reference(target: CollectionRef, rows: int | None = None) -> ReferenceDb:
    return ReferenceDb(
        collection=target.name,
        index_generation=target.generation,
        model_fingerprint=target.fingerprint,
        row_count=rows,
    )
