"""Ask witnesses to sign a checkpoint, by c2sp.org/tlog-witness."""

import base64
import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

from pipeline.audit.checkpoint import Checkpoint
from pipeline.audit.cosignature import read_cosignature, with_signatures
from pipeline.audit.note import NoteError, SignatureLine, parse_signature_line
from pipeline.audit.tree import NodeReader, consistency_proof
from pipeline.audit.witness_policy import Witness
from pipeline.errors import TransientError

logger = logging.getLogger(__name__)

Post: TypeAlias = Callable[[str, bytes], tuple[int, bytes]]  # URL and body → status and body
_OK, _CONFLICT = 200, 409


class Witnesses:
    """For one thread. A witness that is away or refuses is left out, with a line in the log of the process.

    Args:
        post: sends an HTTP request. It raises TransientError when nobody answers.
    """

    def __init__(self, witnesses: Sequence[Witness], post: Post) -> None:
        self._witnesses, self._post = [one for one in witnesses if one.url], post
        self._seen: dict[str, int] = {}  # by witness: the size that it signed last

    def cosign(self, checkpoint: Checkpoint, node: NodeReader) -> Checkpoint:
        """The checkpoint with the signatures of those that gave one. Args: `node`: of its tree."""
        for witness in self._witnesses:
            try:
                lines = self._ask(witness, checkpoint, node)
            except (TransientError, NoteError, ValueError) as err:
                logger.warning("a witness did not sign", extra={"witness": witness.name, "error": str(err)})
                continue
            checkpoint = with_signatures(checkpoint, lines)
            self._seen[witness.name] = checkpoint.size
        return checkpoint

    def _ask(self, witness: Witness, checkpoint: Checkpoint, node: NodeReader) -> list[SignatureLine]:
        old = self._seen.get(witness.name, 0)
        status, body = self._send(witness, checkpoint, old, node)
        if status == _CONFLICT:
            old = _read_size(body)
            status, body = self._send(witness, checkpoint, old, node)
        if status != _OK:
            raise NoteError(f"it answered {status}")
        lines = [parse_signature_line(line) for line in body.decode().removesuffix("\n").split("\n")]
        mine = [line for line in lines if witness.key.made(line)]
        if read_cosignature(with_signatures(checkpoint, mine), witness.key) is None:
            raise NoteError("its answer has no signature of its key")
        return mine

    def _send(
        self, witness: Witness, checkpoint: Checkpoint, old: int, node: NodeReader
    ) -> tuple[int, bytes]:
        if old > checkpoint.size:
            raise NoteError(f"it has seen {old} entries, and the log has {checkpoint.size}: rolled back")
        proof = [base64.b64encode(hash_).decode() for hash_ in consistency_proof(old, checkpoint.size, node)]
        request = "\n".join([f"old {old}", *proof]) + f"\n\n{checkpoint}"
        return self._post(f"{witness.url.rstrip('/')}/add-checkpoint", request.encode())


def _read_size(body: bytes) -> int:
    text = body.decode().strip()
    if not (text.isascii() and text.isdecimal()):
        raise NoteError("its answer 409 holds no size")
    return int(text)
