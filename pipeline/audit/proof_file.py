"""c2sp.org/tlog-proof: an inclusion proof and the checkpoint that it leads to, in one text."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.audit.checkpoint import Checkpoint, parse_checkpoint
from pipeline.audit.note import NoteError, decode_hashes

_HEAD = "c2sp.org/tlog-proof@v1"
MAX_PROOF_HASHES = 63


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """`extra` is signed by nobody. Ours is the salt of the record, or empty."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: Checkpoint
    extra: bytes = b""


def write_proof(index: int, hashes: Sequence[bytes], checkpoint: str, *, extra: bytes = b"") -> str:
    lines = [_HEAD]
    if extra:
        lines.append(f"extra {base64.b64encode(extra).decode()}")
    lines += [f"index {index}", *(base64.b64encode(hash_).decode() for hash_ in hashes)]
    return "\n".join(lines) + "\n\n" + checkpoint


def parse_proof(text: str) -> Proof:
    """Raises NoteError for a text that is not a proof. Nothing is verified."""
    head, separator, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines[0] != _HEAD:
        raise NoteError(f"not a proof: {_HEAD} is expected in its first line")
    extra = _read_extra(lines.pop(1)) if len(lines) > 1 and lines[1].startswith("extra ") else b""
    if len(lines) < 2 or not lines[1].startswith("index "):
        raise NoteError("not a proof: a line with the index is expected")
    index = lines[1].removeprefix("index ")
    if not (index.isascii() and index.isdecimal()) or str(int(index)) != index:
        raise NoteError("not a proof: its index is not a number")
    if len(lines) - 2 > MAX_PROOF_HASHES:
        raise NoteError(f"a proof of {len(lines) - 2} hashes; up to {MAX_PROOF_HASHES} are allowed")
    hashes = tuple(decode_hashes(lines[2:], "proof"))
    return Proof(index=int(index), hashes=hashes, checkpoint=parse_checkpoint(checkpoint), extra=extra)


def _read_extra(line: str) -> bytes:
    try:
        return base64.b64decode(line.removeprefix("extra "), validate=True)
    except binascii.Error as err:
        raise NoteError("not a proof: its extra line is not base64") from err
