"""Records of made-up searches, for the tests of the transparency log."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.audit.check import is_included
from pipeline.audit.checkpoint import open_checkpoint, sign_checkpoint
from pipeline.audit.hashes import leaf_hash
from pipeline.audit.note import SigningKey, VerifierKey
from pipeline.audit.proof_file import parse_proof
from pipeline.audit.records import canonical_json, commit
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import (
    Actor,
    AuditEntry,
    AuditKind,
    AuditReceipt,
    AuditRecord,
    Candidate,
    Probe,
    ReferenceDb,
)

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def search_by(actor: str, *, minute: int = 0, **rest: Any) -> AuditRecord:
    at = NOON + timedelta(minutes=minute)
    usual: dict[str, Any] = {
        "probe": Probe(sha256="ab" * 32, source="upload"),
        "reference_db": ReferenceDb(collection="faces", row_count=100_000),
        "candidates": (Candidate(id="0" * 32, score=0.912345, rank=1),),
    }
    return AuditRecord(
        kind=AuditKind.SEARCH,
        actor=Actor(id=actor, role="read"),
        started_at=at,
        ended_at=at + timedelta(milliseconds=12),
        **(usual | rest),
    )


def erasure_of(records: Sequence[AuditRecord], **rest: Any) -> AuditRecord:
    return AuditRecord(
        kind=AuditKind.ERASURE,
        actor=Actor(id="custodian"),
        started_at=NOON,
        ended_at=NOON,
        refers_to=tuple(record.record_id for record in records),
        **rest,
    )


def proves(receipt: AuditReceipt, record: AuditRecord, key: VerifierKey) -> bool:
    """Whether a receipt alone shows that a record is in the log."""
    proof = parse_proof(receipt.proof)
    checkpoint = open_checkpoint(str(proof.checkpoint), key)
    leaf = leaf_hash(commit(proof.extra, canonical_json(record)))
    return is_included(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root)


class MadeTree(MemoryAuditLog):
    """A log of entries that belong to no records: as large as a test wants, in a moment."""

    def __init__(self, entries: Sequence[bytes], key: SigningKey) -> None:
        super().__init__()
        for entry in entries:
            self._edge.append(leaf_hash(entry))
        self._entries = [
            AuditEntry(index=index, record_id=str(index), commitment=entry, salt=None, record=None)
            for index, entry in enumerate(entries)
        ]
        self._checkpoint = str(sign_checkpoint(key, self._edge.size, self._edge.root()))
