"""A witness as c2sp.org/tlog-witness describes it, in memory."""

import base64
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.audit.check import is_consistent
from pipeline.audit.checkpoint import Checkpoint, open_checkpoint
from pipeline.audit.cosignature import cosignature_bytes, cosigned_message
from pipeline.audit.note import SignatureLine, SignatureType, VerifierKey

TIME_S = 1_795_000_000


@dataclass
class MemoryWitness:
    """Knows one log, and signs whatever goes on from what it has seen."""

    log: VerifierKey
    name: str = "witness.test/w1"
    size: int = 0
    root: bytes = b""
    asked: list[int] = field(default_factory=list)  # the status of each answer

    def __post_init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        public = self._key.public_key().public_bytes_raw()
        self.key = VerifierKey(name=self.name, type=SignatureType.COSIGNATURE, public=public)

    def sign(self, checkpoint: Checkpoint, time_s: int = TIME_S) -> SignatureLine:
        signature = self._key.sign(cosigned_message(checkpoint.note.text, time_s))
        return SignatureLine(
            name=self.name, key_id=self.key.key_id, signature=cosignature_bytes(time_s, signature)
        )

    def post(self, url: str, body: bytes) -> tuple[int, bytes]:
        status, answer = self._answer(url, body.decode())
        self.asked.append(status)
        return status, answer.encode()

    def _answer(self, url: str, body: str) -> tuple[int, str]:
        assert url.endswith("/add-checkpoint")
        head, _, text = body.partition("\n\n")
        old, *lines = head.split("\n")
        checkpoint = open_checkpoint(text, self.log)
        if old != f"old {self.size}":
            return 409, f"{self.size}\n"
        proof = [base64.b64decode(line) for line in lines]
        if self.size and not is_consistent(self.size, checkpoint.size, self.root, checkpoint.root, proof):
            return 422, ""
        self.size, self.root = checkpoint.size, checkpoint.root
        return 200, str(self.sign(checkpoint))
