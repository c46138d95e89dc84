"""The signing key in a file that its user alone can read."""

import hashlib
import os
import secrets
from pathlib import Path

from pipeline.audit.note import NoteError, SigningKey
from pipeline.errors import ConfigError

KEY_FILE = "audit.key"
MIN_SECRET_CHARS = 32  # 128 random bits in hex
_OTHERS = 0o077
_PRIVATE = "PRIVATE+KEY+"
_DERIVATION = b"pictor audit signing key 1\n"  # the same text makes no other key of this project


def read_key(text: str, name: str = "") -> SigningKey:
    """Read the key of a setting: `PRIVATE+KEY+…`, or a random text, of which a key is made.

    Args:
        name: of a key that is made, and so of the log; "" for the usual one.

    Raises:
        ConfigError: it is neither. It is not shown.
    """
    try:
        if text.startswith(_PRIVATE):
            return SigningKey.parse(text)
        if len(text) < MIN_SECRET_CHARS:
            raise ConfigError(
                f"PICTOR_AUDIT_KEY: PRIVATE+KEY+… or {MIN_SECRET_CHARS} random characters are expected"
            )
        seed = hashlib.sha256(_DERIVATION + text.encode()).digest()
        return SigningKey(name or "pictor", seed)
    except NoteError as err:
        raise ConfigError(f"PICTOR_AUDIT_KEY: {err}") from None


def load_or_make_key(folder: Path, name: str) -> SigningKey:
    """Read the key file of a home, or make it at the first use. Safe to run from many processes at once.

    Args:
        name: of a new key, and so of the log; "" for a random one. A key that is there keeps its own.

    Raises:
        ConfigError: the file cannot be read or made, others may read it, or it has another name.
    """
    path = folder / KEY_FILE
    try:
        if not path.exists():
            _make(path, SigningKey.generate(name or f"pictor/{secrets.token_hex(8)}"))
        if path.stat().st_mode & _OTHERS:
            raise ConfigError(f"{path}: others may read the signing key of the log; run chmod 600 on it")
        key = SigningKey.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: the signing key of the log cannot be read or made") from err
    except NoteError as err:
        raise ConfigError(f"{path}: {err}") from None
    if name and key.verifier.name != name:
        raise ConfigError(f"PICTOR_AUDIT_ORIGIN is {name}, and the key in {path} is of {key.verifier.name}")
    return key


def _make(path: Path, key: SigningKey) -> None:
    """Whole or not at all, and never over a key that another process made meanwhile."""
    written = path.with_name(f"{KEY_FILE}.{secrets.token_hex(8)}")
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(key.secret_text() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(written, path)
        except FileExistsError:
            return
    finally:
        written.unlink()
