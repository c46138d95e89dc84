"""One source of S3 credentials for both clients, so that both see a rotated key at the same time."""

import configparser
from datetime import UTC
from threading import Lock
from typing import TYPE_CHECKING

import urllib3
from minio.credentials.credentials import Credentials
from minio.credentials.providers import (
    AWSConfigProvider,
    ChainedProvider,
    IamAwsProvider,
    Provider,
    StaticProvider,
)

from pipeline.adapters.s3.config import S3Config
from pipeline.errors import ConfigError, TransientError

if TYPE_CHECKING:
    from obstore.store import S3Credential  # exists for type checkers only


class CredentialSource(Provider):
    """The given keys, else the AWS credentials file, else the role of this instance, pod or container.

    Temporary credentials are renewed when they expire. Safe to share between threads.
    """

    def __init__(self, config: S3Config) -> None:
        if bool(config.access_key) != bool(config.secret_key):
            there, absent = ("ACCESS", "SECRET") if config.access_key else ("SECRET", "ACCESS")
            raise ConfigError(f"PICTOR_S3_{there}_KEY is set and PICTOR_S3_{absent}_KEY is not")
        self._provider = _given(config) if config.access_key else _chain()
        self._lock = Lock()
        self._had_some = False

    def retrieve(self) -> Credentials:
        """For the minio SDK.

        Raises:
            ConfigError: none were ever found.
            TransientError: they were found before, and cannot be renewed now.
        """
        with self._lock:
            try:
                credentials = self._provider.retrieve()
            except (ValueError, KeyError, OSError, configparser.Error, urllib3.exceptions.HTTPError) as err:
                raise self._failed() from err
            self._had_some = True
            return credentials

    def __call__(self) -> "S3Credential":
        """For obstore."""
        credentials = self.retrieve()
        expires_at = credentials.expiration  # UTC without saying so
        return {
            "access_key_id": credentials.access_key,
            "secret_access_key": credentials.secret_key,
            "token": credentials.session_token,
            "expires_at": expires_at and expires_at.replace(tzinfo=UTC),
        }

    def _failed(self) -> ConfigError | TransientError:
        if self._had_some:
            return TransientError("the temporary S3 credentials cannot be renewed at the moment")
        return ConfigError(
            "no S3 credentials: set PICTOR_S3_ACCESS_KEY and PICTOR_S3_SECRET_KEY (or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY), name a profile of the AWS credentials file in AWS_PROFILE, or give this "
            "machine a role"
        )


def _given(config: S3Config) -> Provider:
    return StaticProvider(config.access_key, config.secret_key, config.session_token or None)


def _chain() -> Provider:
    # The role service answers at once or is not there; the SDK's own client would wait for minutes.
    role_client = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=1, read=5), retries=urllib3.Retry(total=1, backoff_factor=0.2)
    )
    return ChainedProvider([AWSConfigProvider(), IamAwsProvider(http_client=role_client)])
