"""c2sp.org/signed-note: a text, an empty line, and one line for each signature.

Keys are written as Go's golang.org/x/mod/sumdb/note has them, so that its programs read ours.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
_PRIVATE = "PRIVATE+KEY+"
_KEY_BYTES = 32


class SignatureType(IntEnum):
    ED25519 = 1
    COSIGNATURE = 4  # c2sp.org/tlog-cosignature with Ed25519


class NoteError(ValueError):
    """A note, key or signature that is not what it should be. The message holds no secret."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignatureLine:
    name: str
    key_id: bytes  # 4 bytes
    signature: bytes

    def __str__(self) -> str:
        return f"— {self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    text: str  # with the newline at its end
    signatures: tuple[SignatureLine, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(map(str, self.signatures))


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifierKey:
    """A public key with the name under which it signs: a vkey."""

    name: str
    type: SignatureType
    public: bytes

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(f"{self.name}\n".encode() + bytes([self.type]) + self.public).digest()[:4]

    def __str__(self) -> str:
        encoded = base64.b64encode(bytes([self.type]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    def made(self, line: SignatureLine) -> bool:
        """Whether a line claims to be of this key."""
        return (line.name, line.key_id) == (self.name, self.key_id)

    def verify(self, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key with its name. It shows itself as its public key and nothing else."""

    def __init__(self, name: str, seed: bytes) -> None:
        check_key_name(name)
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(
            name=name, type=SignatureType.ED25519, public=self._key.public_key().public_bytes_raw()
        )
        self._key_id = self.verifier.key_id

    def __repr__(self) -> str:
        return f"SigningKey({self.verifier})"

    @classmethod
    def generate(cls, name: str) -> "SigningKey":
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> "SigningKey":
        """Read `PRIVATE+KEY+<name>+<key id>+<base64>`.

        Raises:
            NoteError: it is something else. The text is not shown.
        """
        name, key_id, material = _split_key(text.strip().removeprefix(_PRIVATE), "private key")
        if not text.strip().startswith(_PRIVATE) or material[0] != SignatureType.ED25519:
            raise NoteError("not an Ed25519 key of the form PRIVATE+KEY+<name>+<id>+<base64>")
        key = cls(name, material[1:])
        if key.verifier.key_id != key_id:
            raise NoteError(f"private key {name}: its id does not belong to its name and key")
        return key

    def secret_text(self) -> str:
        """What `parse` reads. For a file that nobody else may read, and for nothing else."""
        seed = bytes([SignatureType.ED25519]) + self._key.private_bytes_raw()
        name, key_id = self.verifier.name, self.verifier.key_id.hex()
        return f"{_PRIVATE}{name}+{key_id}+{base64.b64encode(seed).decode()}"

    def sign(self, text: str) -> SignatureLine:
        return SignatureLine(
            name=self.verifier.name, key_id=self._key_id, signature=self._key.sign(text.encode())
        )


def parse_verifier_key(text: str) -> VerifierKey:
    """Raises NoteError for what is not a vkey of a type that is known here."""
    name, key_id, material = _split_key(text.strip(), "vkey")
    try:
        key = VerifierKey(name=name, type=SignatureType(material[0]), public=material[1:])
    except ValueError as err:
        raise NoteError(f"vkey {name}: signature type {material[0]} is unknown; 1 and 4 are known") from err
    if key.key_id != key_id:
        raise NoteError(f"vkey {name}: its id does not belong to its name and key")
    return key


def parse_note(text: str) -> Note:
    """Raises NoteError for a text that is not a note. No signature is verified."""
    if len(text) > MAX_NOTE_BYTES or any(char < " " and char != "\n" for char in text):
        raise NoteError("not a note: too long, or with control characters")
    body, separator, lines = text.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise NoteError("not a note: signature lines after an empty line are expected")
    signatures = lines[:-1].split("\n")
    if len(signatures) > MAX_SIGNATURES:
        raise NoteError(f"a note with {len(signatures)} signatures; up to {MAX_SIGNATURES} are allowed")
    return Note(text=body + "\n", signatures=tuple(map(parse_signature_line, signatures)))


def parse_signature_line(line: str) -> SignatureLine:
    """Args: `line` is without its newline."""
    dash, *rest = line.split(" ")
    if dash != "—" or len(rest) != 2:
        raise NoteError("not a signature line: `— <name> <base64>` is expected")
    check_key_name(rest[0])
    signature = _decode(rest[1], "signature")
    if len(signature) < 5:
        raise NoteError("a signature line of fewer than 5 bytes")
    return SignatureLine(name=rest[0], key_id=signature[:4], signature=signature[4:])


def is_signed_by(note: Note, key: VerifierKey) -> bool:
    """Whether a note has a signature of this key.

    Raises:
        NoteError: it has one that is wrong.
    """
    mine = [line for line in note.signatures if key.made(line)]
    if not all(key.verify(note.text.encode(), line.signature) for line in mine):
        raise NoteError(f"the signature of {key.name} is wrong")
    return bool(mine)


def check_key_name(name: str) -> str:
    if not name or "+" in name or any(char.isspace() or char < " " for char in name):
        raise NoteError("a key name must not be empty and holds no spaces, control characters or plus signs")
    return name


def decode_hashes(lines: Sequence[str], what: str) -> list[bytes]:
    """SHA-256 hashes, one a line in base64. Raises NoteError."""
    hashes = [_decode(line, what) for line in lines]
    if any(len(hash_) != hashlib.sha256().digest_size for hash_ in hashes):
        raise NoteError(f"{what}: a hash of 32 bytes is expected")
    return hashes


def _split_key(text: str, what: str) -> tuple[str, bytes, bytes]:
    name, *rest = text.split("+", 2)  # base64 may hold plus signs
    if len(rest) != 2 or len(rest[0]) != 8:
        raise NoteError(f"not a {what}: <name>+<8 hex digits>+<base64> is expected")
    try:
        key_id = bytes.fromhex(rest[0])
    except ValueError as err:
        raise NoteError(f"{what}: its id is not hexadecimal") from err
    material = _decode(rest[1], what)
    if len(material) != 1 + _KEY_BYTES:
        raise NoteError(f"{what}: {len(material)} bytes of key; {1 + _KEY_BYTES} are expected")
    return check_key_name(name), key_id, material


def _decode(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError(f"{what}: not base64") from None  # the error of the decoder might hold a secret
