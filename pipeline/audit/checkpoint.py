"""c2sp.org/tlog-checkpoint: a signed note that says how large a log is and what its root is."""

import base64
from dataclasses import dataclass

from pipeline.audit.note import (
    Note,
    NoteError,
    SigningKey,
    VerifierKey,
    decode_hashes,
    is_signed_by,
    parse_note,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes
    note: Note

    def __str__(self) -> str:
        return str(self.note)


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedCheckpoint:
    name: str  # where it was found
    checkpoint: Checkpoint


def sign_checkpoint(key: SigningKey, size: int, root: bytes) -> Checkpoint:
    """The name of the key is the origin. The caller must never sign two that are not consistent."""
    origin = key.verifier.name
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    return Checkpoint(origin=origin, size=size, root=root, note=Note(text=text, signatures=(key.sign(text),)))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read one without asking who signed it. Raises NoteError."""
    note = parse_note(text)
    lines = note.text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines):
        raise NoteError("not a checkpoint: origin, size and root are expected, a line each")
    origin, size, root, *_extensions = lines
    if not (size.isascii() and size.isdecimal()) or str(int(size)) != size:
        raise NoteError("not a checkpoint: its second line is not a size")
    return Checkpoint(origin=origin, size=int(size), root=decode_hashes([root], "root")[0], note=note)


def open_checkpoint(text: str, key: VerifierKey) -> Checkpoint:
    """Read one of a log that is known.

    Raises:
        NoteError: it is not one, is of another log, or is not signed by this key.
    """
    checkpoint = parse_checkpoint(text)
    if checkpoint.origin != key.name:
        raise NoteError(f"a checkpoint of log {checkpoint.origin!r}; one of {key.name!r} is expected")
    if not is_signed_by(checkpoint.note, key):
        raise NoteError(f"the checkpoint is not signed by {key}")
    return checkpoint
