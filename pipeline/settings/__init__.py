"""The only reader of the environment. Each field is one variable, `PICTOR_<NAME>`.

S3 settings fall back to the standard AWS variables, so that a shell set up for another S3 tool works as
it is. Secrets may also stand in files, one each, so that containers need not have them in their environment.
docs/reference/settings.md is made from the descriptions in the groups.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.client_settings import secret_in_file
from pipeline.errors import ConfigError
from pipeline.setting_faults import say_fault
from pipeline.settings.audit import AuditSettings
from pipeline.settings.batches import BatchSettings
from pipeline.settings.cluster import ClusterSettings
from pipeline.settings.databases import DatabaseSettings
from pipeline.settings.models import ModelSettings
from pipeline.settings.s3 import S3Settings
from pipeline.settings.service import ServiceSettings


# Pydantic takes the fields of the last group first. Read from below, this is the order of the page.
class Settings(
    BatchSettings,
    ServiceSettings,
    ClusterSettings,
    S3Settings,
    AuditSettings,
    DatabaseSettings,
    ModelSettings,
    BaseSettings,
):
    """All settings, frozen. Empty text means "not set" throughout."""

    model_config = SettingsConfigDict(
        env_prefix="PICTOR_",
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,  # a mistyped secret must not be printed
        populate_by_name=True,
    )

    @classmethod
    def from_env(cls) -> Self:
        """Read and check the environment.

        Raises:
            ConfigError: a variable has an unusable value. All of them are named, with what is
                allowed. No text is shown. Or the folder of secrets, or a file in it, cannot be read.
        """
        try:
            secrets = _secrets_in_files(cls, os.environ)
            return cls(**(_one_identity(os.environ, secrets) | secrets))
        except ValidationError as err:
            raise ConfigError("; ".join(map(cls._say, err.errors()))) from None

    @classmethod
    def _say(cls, fault: ErrorDetails) -> str:
        variable, ours = _variable(fault["loc"]), fault.get("ctx", {}).get("error")
        field = next(field for name, field in cls.model_fields.items() if _is_of(variable, name, field))
        return say_fault(variable, field, fault["input"], str(ours or ""))

    @property
    def milvus_target(self) -> str:
        return self.milvus_uri or str(self.home / "milvus.db")

    @property
    def ledger_target(self) -> str:
        return self.ledger_url.get_secret_value() or f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def uploads_target(self) -> str:
        """ "" for none."""
        home = "" if self.broker_url.get_secret_value() else str(self.home / "uploads")
        return self.uploads or home

    @property
    def audit_tiles_target(self) -> str:
        """ "" for nowhere."""
        home = str(self.home / "audit") if self.ledger_target.startswith("sqlite") else ""
        return self.audit_tiles or home

    @property
    def held_cases(self) -> tuple[str, ...]:
        return _globs(self.audit_held_cases)

    @property
    def bucket_globs(self) -> tuple[str, ...]:
        return _globs(self.allowed_buckets)

    @property
    def collection_globs(self) -> tuple[str, ...]:
        return _globs(self.allowed_collections)

    @property
    def service_host_names(self) -> tuple[str, ...]:
        return tuple(name.lower() for name in _globs(self.service_hosts))

    @property
    def run_folder(self) -> Path:
        return self.run_dir or self.home / "run"

    @property
    def weights_dir(self) -> Path:
        return self.model_dir or self.home / "models"


def _globs(text: str) -> tuple[str, ...]:
    return tuple(glob.strip() for glob in text.split(",") if glob.strip())


def _secrets_in_files(model: type[BaseSettings], environ: Mapping[str, str]) -> dict[str, Any]:
    """Secrets from PICTOR_SECRETS_DIR, without those that a variable of ours gives."""
    secrets = [name for name, field in model.model_fields.items() if field.annotation is SecretStr]
    asked = [name for name in secrets if not environ.get(f"PICTOR_{name.upper()}")]
    found = {name: secret_in_file(f"PICTOR_{name.upper()}", environ) for name in asked}
    return {name: SecretStr(text) for name, text in found.items() if text}


def _one_identity(environ: Mapping[str, str], secrets: Mapping[str, object]) -> dict[str, Any]:
    """Where one of our own S3 credentials is set, none of the AWS ones may complete it to a mixture."""
    ours = ("s3_access_key", "s3_secret_key", "s3_session_token")
    unset = [name for name in ours if not environ.get(f"PICTOR_{name.upper()}") and name not in secrets]
    return {} if len(unset) == len(ours) else dict.fromkeys(unset, SecretStr(""))


def _is_of(variable: str, name: str, field: FieldInfo) -> bool:
    alias = field.validation_alias
    return variable == f"PICTOR_{name.upper()}" or (
        isinstance(alias, AliasChoices) and variable in alias.choices
    )


def _variable(loc: tuple[int | str, ...]) -> str:
    name = str(loc[0]) if loc else "?"
    return name if name.isupper() else f"PICTOR_{name.upper()}"
