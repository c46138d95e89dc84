"""From a record to the 32 bytes that the tree holds.

The tree holds a commitment, SHA-256 over a random salt and the record. Without the salt nobody can try out
which record it was, so that erasing both leaves a tree that says nothing of them and is proved as before.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence

import rfc8785

from pipeline.audit.canonical import to_canonical
from pipeline.errors import ArgumentError, NotFoundError
from pipeline.types.audit import RECORD_VERSION, AuditEntry, AuditKind, AuditRecord

SALT_BYTES = 32
MAX_RECORD_BYTES = 4 * 2**20  # the most hits of a search are 1.3 MB, and the largest condition is 1 MB


def new_salt() -> bytes:
    return secrets.token_bytes(SALT_BYTES)


def commit(salt: bytes, canonical: bytes) -> bytes:
    """The entry of the log, 32 bytes. All salts have one length, so no other pair gives the same text."""
    return hashlib.sha256(salt + canonical).digest()


def canonical_json(record: AuditRecord) -> bytes:
    """RFC 8785.

    Raises:
        ArgumentError: the record holds what JSON cannot say, or is too large.
    """
    try:
        canonical = to_canonical(record, v=RECORD_VERSION)
    except rfc8785.CanonicalizationError as err:
        raise ArgumentError(f"record {record.record_id} cannot be written as JSON: {err}") from err
    if len(canonical) > MAX_RECORD_BYTES:
        raise ArgumentError(
            f"record {record.record_id} has {len(canonical)} bytes; up to {MAX_RECORD_BYTES} are allowed"
        )
    return canonical


def check_erasure(erasure: AuditRecord, erased: Sequence[AuditEntry]) -> None:
    """Raises ArgumentError unless a record says exactly which others are erased, none of them an erasure."""
    if erasure.kind is not AuditKind.ERASURE or set(erasure.refers_to) != {e.record_id for e in erased}:
        raise ArgumentError(
            f"record {erasure.record_id}: an erasure that refers to the erased records is expected"
        )
    for entry in erased:
        if entry.record is not None and json.loads(entry.record)["kind"] == AuditKind.ERASURE:
            raise ArgumentError(f"record {entry.record_id} is of an erasure itself, and stays")


def no_such_record(record_id: str) -> NotFoundError:
    return NotFoundError(f"no record {record_id!r} in the log")
