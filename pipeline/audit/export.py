"""Write a part of a log so that anybody can check it elsewhere: records as JSON lines, and the whole tree.

A line is `{"commitment":…,"index":…,"record":{…},"salt":…}` in RFC 8785 JSON. Of an erased record it has the
index and the commitment alone. `offline` checks such a folder, and knows nothing of Pictor's ledger.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from datetime import datetime

from pipeline.audit.note import VerifierKey
from pipeline.audit.place import Place
from pipeline.audit.publish import write_tiles
from pipeline.audit.tiles import CHECKPOINT
from pipeline.ports.audit import PublishedLog
from pipeline.types.audit import AuditEntry

RECORDS, VKEY = "records.jsonl", "log.vkey"


def write_tree(log: PublishedLog, place: Place, key: VerifierKey) -> int:
    """Tiles, entries, checkpoint and public key. Returns the size of the tree."""
    head = log.head()
    write_tiles(log, place, head.size, since=0)
    place.write(CHECKPOINT, head.checkpoint.encode())
    place.write(VKEY, f"{key}\n".encode())
    return head.size


def export_lines(
    entries: Iterable[AuditEntry], *, since: datetime | None, until: datetime | None, tenant: str = ""
) -> Iterator[bytes]:
    """The lines of the entries whose acts began in a span of time, in their order.

    Args:
        until: this moment is out.
        tenant: "" for all of them. Erased records have neither time nor tenant: those between others are in.
    """
    bare: list[AuditEntry] = []
    has_begun = False
    for entry in entries:
        if entry.record is None:
            bare.append(entry)
            continue
        if _is_wanted(entry.record, since, until, tenant):
            yield from map(line_of, bare if has_begun or since is None else ())
            yield line_of(entry)
            has_begun = True
            bare.clear()
        elif not has_begun:
            bare.clear()
    if until is None:
        yield from map(line_of, bare)


def line_of(entry: AuditEntry) -> bytes:
    commitment = base64.b64encode(entry.commitment).decode()
    head = f'{{"commitment":"{commitment}","index":{entry.index}'
    if entry.record is None or entry.salt is None:
        return head.encode() + b"}\n"
    salt = base64.b64encode(entry.salt).decode()
    return head.encode() + b',"record":' + entry.record + f',"salt":"{salt}"}}\n'.encode()


def _is_wanted(body: bytes, since: datetime | None, until: datetime | None, tenant: str) -> bool:
    record = json.loads(body)
    at = datetime.fromisoformat(record["started_at"])
    return (
        (since is None or at >= since)
        and (until is None or at < until)
        and (not tenant or record["tenant"] == tenant)
    )
