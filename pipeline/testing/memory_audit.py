"""The transparency log in memory: the fake of tests. It passes the contract tests of the real one."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import Lock

from pipeline.audit.checkpoint import sign_checkpoint
from pipeline.audit.edge import Edge
from pipeline.audit.hashes import leaf_hash
from pipeline.audit.note import SigningKey
from pipeline.audit.proof_file import write_proof
from pipeline.audit.queries import facets_in, matches, said_references
from pipeline.audit.records import canonical_json, check_erasure, commit, new_salt, no_such_record
from pipeline.audit.tiles import TILE_HASHES, TILE_HEIGHT, tiles_of
from pipeline.types.audit import AuditEntry, AuditQuery, AuditReceipt, AuditRecord, TreeHead


class MemoryAuditLog:
    """AuditLog whose whole tree is its edge: for as many entries as a test makes."""

    def __init__(self, name: str = "pictor.test/log") -> None:
        self.key = SigningKey.generate(name)
        self.vkey = str(self.key.verifier)
        self._lock = Lock()
        self._entries: list[AuditEntry] = []
        self._records: dict[str, AuditRecord] = {}
        self._places: dict[str, int] = {}
        self._edge = Edge()
        self._checkpoint = self._cosigned = ""
        self._failures: list[Exception] = []

    def fail_next(self, error: Exception, times: int = 1) -> None:
        """Make the next appends raise `error` without effect."""
        with self._lock:
            self._failures.extend([error] * times)

    def append(self, records: Sequence[AuditRecord]) -> list[AuditReceipt]:
        canonical = [canonical_json(record) for record in records]
        with self._lock:
            if self._failures:
                raise self._failures.pop(0)
            for record, body in zip(records, canonical, strict=True):
                self._add(record, body)
            return [self._prove(record.record_id) for record in records]

    def head(self) -> TreeHead:
        with self._lock:
            return TreeHead(size=self._edge.size, root=self._edge.root(), checkpoint=self._checkpoint)

    def get(self, record_id: str) -> AuditEntry:
        with self._lock:
            return self._entry(record_id)

    def prove(self, record_id: str) -> AuditReceipt:
        with self._lock:
            return self._prove(record_id)

    def entries(self, *, start: int = 0, end: int | None = None) -> Iterator[AuditEntry]:
        with self._lock:
            return iter(self._entries[start:end])

    def find(self, query: AuditQuery, *, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        with self._lock:
            found = [
                entry
                for entry in reversed(self._entries[:before])
                if entry.record is not None and matches(self._records[entry.record_id], query)
            ]
        return found[:limit]

    def erase(self, record_ids: Sequence[str], erasure: AuditRecord) -> AuditReceipt:
        body = canonical_json(erasure)
        with self._lock:
            check_erasure(erasure, [self._entry(record_id) for record_id in record_ids])
            for record_id in record_ids:
                index = self._places[record_id]
                self._entries[index] = replace(self._entries[index], salt=None, record=None, found_by={})
                self._records.pop(record_id, None)
            self._add(erasure, body)
            return self._prove(erasure.record_id)

    def tile(self, level: int, number: int, size: int) -> bytes:
        with self._lock:
            width = min(TILE_HASHES, (size >> TILE_HEIGHT * level) - number * TILE_HASHES)
            return self._edge.tile(level, number, width)

    def commitments(self, start: int, end: int) -> list[bytes]:
        with self._lock:
            return [entry.commitment for entry in self._entries[start:end]]

    def full_tiles(self) -> list[tuple[int, int]]:
        with self._lock:
            return [(t.level, t.number) for t in tiles_of(self._edge.size) if t.width == TILE_HASHES]

    def cosigned(self) -> str:
        return self._cosigned

    def set_cosigned(self, checkpoint: str) -> None:
        self._cosigned = checkpoint

    def _add(self, record: AuditRecord, body: bytes) -> None:
        if record.record_id in self._places:
            return
        salt, index = new_salt(), self._edge.size
        commitment = commit(salt, body)
        found_by = {name: str(value) for name, value in facets_in(json.loads(body)).items()}
        self._edge.append(leaf_hash(commitment))
        self._entries.append(
            AuditEntry(
                index=index,
                record_id=record.record_id,
                commitment=commitment,
                salt=salt,
                record=body,
                found_by=found_by | {"refers_to": said_references(record.refers_to)},
            )
        )
        self._records[record.record_id] = record
        self._places[record.record_id] = index
        self._checkpoint = str(sign_checkpoint(self.key, self._edge.size, self._edge.root()))

    def _entry(self, record_id: str) -> AuditEntry:
        if record_id not in self._places:
            raise no_such_record(record_id)
        return self._entries[self._places[record_id]]

    def _prove(self, record_id: str) -> AuditReceipt:
        entry = self._entry(record_id)
        proof = write_proof(
            entry.index, self._edge.prove(entry.index), self._checkpoint, extra=entry.salt or b""
        )
        return AuditReceipt(record_id=record_id, index=entry.index, commitment=entry.commitment, proof=proof)
