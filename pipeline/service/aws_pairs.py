"""The pair of an access key id and a secret with which AWS clients sign, for a key of this service.

Both follow from the id of the key, and the secret also from a master key that whoever runs the service holds.
So nothing in the ledger opens anything, and whoever holds the key by its text holds no secret of AWS's kind.
"""

import base64
import hashlib
import hmac

from pipeline.errors import ConfigError
from pipeline.service.key_text import KEY_ID

PREFIX = "PKIA"  # with the id of the key, the 16 characters that clients expect at least
LEAST_MASTER_CHARS = 32
_SECRET_CHARS = 40  # as AWS has them: 240 bits of base64
_PURPOSE = b"pictor aws secret 1\0"  # the master key may sign nothing else with the same bytes


def access_key_id_of(key_id: str) -> str:
    return PREFIX + key_id


def key_id_in(access_key_id: str) -> str | None:
    """None for a text that is no access key id of this service."""
    key_id = access_key_id.removeprefix(PREFIX)
    return key_id if access_key_id.startswith(PREFIX) and KEY_ID.fullmatch(key_id) else None


def secret_of(key_id: str, master: str) -> str:
    """40 characters. Raises ConfigError: the master key is missing, or short enough to be guessed."""
    digest = hmac.digest(check_master(master).encode(), _PURPOSE + key_id.encode(), hashlib.sha256)
    return base64.b64encode(digest).decode()[:_SECRET_CHARS]


def check_master(master: str) -> str:
    """Raises ConfigError."""
    if len(master) < LEAST_MASTER_CHARS:
        raise ConfigError(
            f"PICTOR_REKOGNITION_KEY: a random text of {LEAST_MASTER_CHARS} characters or more is expected, "
            f"found {len(master)}"
        )
    return master
