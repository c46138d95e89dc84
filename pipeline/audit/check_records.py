"""Whether each record is the one that was committed to, and is found by what it says."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.audit.faults import Faults
from pipeline.audit.queries import facets_in, said_references
from pipeline.audit.records import commit
from pipeline.types.audit import AuditEntry, AuditKind


class RecordCheck:
    """Takes the entries in their order.

    Args:
        on_record: is given the place and the JSON of each record that can be read.
    """

    def __init__(
        self,
        faults: Faults,
        on_record: Callable[[int, Mapping[str, Any]], None] = lambda _index, _record: None,
    ) -> None:
        self._faults, self._on_record = faults, on_record
        self._bare: dict[str, int] = {}  # record id → index of entries without a record
        self._declared: set[str] = set()  # ids that erasures speak of

    @property
    def erased(self) -> int:
        return len(self._bare)

    def check(self, entry: AuditEntry) -> None:
        if entry.record is None or entry.salt is None:
            self._bare[entry.record_id] = entry.index
        elif commit(entry.salt, entry.record) != entry.commitment:
            self._faults.add(entry.index, f"entry {entry.index}: its record does not match its commitment")
        else:
            self._check_copies(entry, entry.record)

    def behind(self, entry: AuditEntry, end: int) -> None:
        self._faults.add(
            entry.index, f"entry {entry.index} was inserted: the newest checkpoint is of {end} entries"
        )

    def finish(self) -> None:
        for record_id, index in self._bare.items():
            if record_id not in self._declared:
                self._faults.add(index, f"entry {index}: its record was removed, and no erasure names it")

    def _check_copies(self, entry: AuditEntry, body: bytes) -> None:
        try:
            record = json.loads(body.decode())  # as bytes its encoding would be guessed first
            copies: dict[str, object] = {
                **facets_in(record),
                "refers_to": said_references(record["refers_to"]),
            }
            record_id = record["record_id"]
            if record["kind"] == AuditKind.ERASURE:
                self._declared.update(record["refers_to"])
            self._on_record(entry.index, record)
        except (ValueError, KeyError, TypeError):
            self._faults.add(entry.index, f"entry {entry.index}: its record cannot be read as one")
            return
        if record_id != entry.record_id:
            self._faults.add(entry.index, f"entry {entry.index}: its row has the id of another record")
        if entry.found_by.items() <= copies.items():
            return
        for name, value in entry.found_by.items():
            if copies[name] != value:
                self._faults.add(
                    entry.index, f"entry {entry.index}: its row says another {name} than its record"
                )
