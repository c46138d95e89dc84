"""c2sp.org/tlog-cosignature with Ed25519: a witness says that it saw a checkpoint, and no other history."""

from collections.abc import Iterable

from pipeline.audit.checkpoint import Checkpoint
from pipeline.audit.note import Note, NoteError, SignatureLine, VerifierKey

_TIME_BYTES = 8


def cosigned_message(checkpoint_text: str, time_s: int) -> bytes:
    """What a witness signs. Args: `checkpoint_text`: without signatures. `time_s`: since the epoch."""
    return f"cosignature/v1\ntime {time_s}\n{checkpoint_text}".encode()


def cosignature_bytes(time_s: int, signature: bytes) -> bytes:
    return time_s.to_bytes(_TIME_BYTES, "big") + signature


def read_cosignature(checkpoint: Checkpoint, witness: VerifierKey) -> int | None:
    """When a witness signed this checkpoint, in seconds since the epoch; None when it did not.

    Raises:
        NoteError: it has a signature of the witness that is wrong.
    """
    times = [_verify(checkpoint, witness, line) for line in checkpoint.note.signatures if witness.made(line)]
    return max(times, default=None)


def with_signatures(checkpoint: Checkpoint, lines: Iterable[SignatureLine]) -> Checkpoint:
    """The same checkpoint with more signatures, each once."""
    present = dict.fromkeys((*checkpoint.note.signatures, *lines))
    return Checkpoint(
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root,
        note=Note(text=checkpoint.note.text, signatures=tuple(present)),
    )


def _verify(checkpoint: Checkpoint, witness: VerifierKey, line: SignatureLine) -> int:
    time_s = int.from_bytes(line.signature[:_TIME_BYTES], "big")
    message = cosigned_message(checkpoint.note.text, time_s)
    if time_s >= 1 << 63 or not witness.verify(message, line.signature[_TIME_BYTES:]):
        raise NoteError(f"the cosignature of {witness.name} is wrong")
    return time_s
