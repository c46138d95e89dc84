"""The few settings that a client of the service needs, read without pydantic.

To build all settings takes longer than a search through a running service. Each variable means the same as in
`pipeline.settings`, which describes it; a test compares the two.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientSettings:
    """An empty text means "not set". Secrets are shown by nothing."""

    home: Path
    collection: str
    api: str
    api_key: str = field(repr=False)
    ca_file: str
    milvus_uri: str
    ledger_url: str = field(repr=False)
    broker_url: str = field(repr=False)

    @classmethod
    def from_env(cls) -> Self:
        """Raises ConfigError: the folder of secrets, or a file in it, cannot be read."""
        environ = os.environ

        def secret(name: str) -> str:
            return environ.get(name) or secret_in_file(name, environ)

        return cls(
            home=Path(environ.get("PICTOR_HOME") or default_home()),
            collection=environ.get("PICTOR_COLLECTION") or "images",
            api=environ.get("PICTOR_API", ""),
            api_key=secret("PICTOR_API_KEY"),
            ca_file=environ.get("PICTOR_CA_FILE", ""),
            milvus_uri=environ.get("PICTOR_MILVUS_URI", ""),
            ledger_url=secret("PICTOR_LEDGER_URL"),
            broker_url=secret("PICTOR_BROKER_URL"),
        )


def default_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "pictor"


def secret_in_file(name: str, environ: Mapping[str, str]) -> str:
    """The secret of this variable in PICTOR_SECRETS_DIR, or "" where there is none.

    Raises:
        ConfigError: the folder, or the file, cannot be read.
    """
    folder = environ.get("PICTOR_SECRETS_DIR")
    return _read_secret(Path(folder), name) if folder else ""


def _read_secret(folder: Path, file_name: str) -> str:
    """An editor's newline at the end is no part of a secret."""
    try:
        if not folder.is_dir():
            raise ConfigError(f"PICTOR_SECRETS_DIR: {folder} is not a folder")
        return (folder / file_name).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as err:
        # Not chained: the error of a decoder holds the bytes.
        raise ConfigError(f"PICTOR_SECRETS_DIR: {folder / file_name}: {type(err).__name__}") from None
