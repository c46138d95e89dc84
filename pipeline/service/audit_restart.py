"""A new log in the place of one whose ledger was put back to an older state (decision 0164)."""

import base64
from typing import TYPE_CHECKING

from pipeline.service.access import Caller, Permission, require
from pipeline.service.audit_entries import record_of
from pipeline.types.audit import AuditKind, AuditRecord, Json

if TYPE_CHECKING:
    from pipeline.audit.loss import Loss


def enter_new_log(loss: "Loss", old_vkey: str, caller: Caller) -> AuditRecord:
    """The first entry: at which state the old log ended, and which of its entries are lost.

    Raises:
        DeniedError: the caller is no operator.
    """
    require(caller, Permission.OPERATE)
    ended = loss.newest.checkpoint
    details: dict[str, Json] = {
        "old_origin": ended.origin,
        "old_size": ended.size,
        "old_root": base64.b64encode(ended.root).decode(),
        "old_vkey": old_vkey,
        "old_checkpoint": loss.newest.name,
        "entries_in_ledger": loss.ledger_size,
        "first_missing": loss.first,
    }
    return record_of(AuditKind.NEW_LOG, caller, details=details)
