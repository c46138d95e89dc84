"""The transparency log: its newest checkpoint, and single entries with their proofs."""

import base64
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import PlainTextResponse

from pipeline.api.audit_bodies import LogEntry
from pipeline.api.backend import Asks, Ports
from pipeline.service import audit
from pipeline.service.access import Permission, require

router = APIRouter(prefix="/v1/audit", tags=["log"])

NO_CACHE = {"cache-control": "no-store"}
Place = Annotated[str, Path(max_length=64, description="The index of the entry, or the id of its record")]


@router.get("/checkpoint", response_class=PlainTextResponse)
def show_checkpoint(ports: Ports, caller: Asks) -> PlainTextResponse:
    """The newest signed state of the log, as a signed note. It is empty before the first entry."""
    require(caller, Permission.READ)
    head = audit.log_of(ports.answers_to.log).head()
    return PlainTextResponse(head.checkpoint, headers=NO_CACHE)


@router.get("/key", response_class=PlainTextResponse)
def show_key(ports: Ports, caller: Asks) -> PlainTextResponse:
    """The public key of the log. To check the service itself, have its key from somewhere else."""
    require(caller, Permission.READ)
    return PlainTextResponse(f"{audit.log_of(ports.answers_to.log).vkey}\n", headers=NO_CACHE)


@router.get("/entries/{entry}")
def show_entry(entry: Place, ports: Ports, caller: Asks) -> LogEntry:
    """An entry with its record, for auditors, and for whoever made the search that it is of."""
    found = audit.show_entry(entry, audit.log_of(ports.answers_to.log), caller)
    return LogEntry(
        index=found.index,
        record_id=found.record_id,
        commitment=base64.b64encode(found.commitment).decode(),
        salt=base64.b64encode(found.salt).decode() if found.salt else None,
        record=found.record.decode() if found.record else None,
    )


@router.get("/entries/{entry}/proof", response_class=PlainTextResponse)
def prove_entry(entry: Place, ports: Ports, caller: Asks) -> PlainTextResponse:
    """A `.tlog-proof` of the entry under the newest checkpoint, for whoever may see the entry."""
    receipt = audit.prove_place(entry, audit.log_of(ports.answers_to.log), caller)
    return PlainTextResponse(receipt.proof, headers=NO_CACHE)
