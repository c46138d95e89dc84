"""Users of an object store of MinIO's kind, which has an interface for it. AWS and Ceph have others."""

import json
from collections.abc import Mapping

from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError

from pipeline.adapters.s3.config import S3Config, parse_endpoint
from pipeline.adapters.s3.credentials import CredentialSource
from pipeline.adapters.s3.http import http_client
from pipeline.adapters.s3.rights import ROLE_RIGHTS, StorePlaces, policy_of
from pipeline.errors import ConfigError, CredentialsError, TransientError

SETTING = "PICTOR_S3_USERS"
MIN_ACCESS_CHARS, MIN_SECRET_CHARS = 3, 8  # MinIO's own
_WRONG_KEYS = ("401", "403")


def make_users(
    config: S3Config, users: str, places: StorePlaces, *, http: PoolManager | None = None
) -> dict[str, str]:
    """Make a user for each role, with the rights of the role. Safe to run twice: both are set anew.

    Args:
        config: of a user who may make users.
        users: a JSON object, `ACCESS_KEY:SECRET_KEY` by role.
        http: see `minio`. Default: a client as for objects.

    Returns:
        The access key of each role.

    Raises:
        ConfigError: `users` is no such object, or the store is not of MinIO's kind.
        CredentialsError: this user may not make users.
        TransientError: no answer.
    """
    keys = read_users(users, other_than=config.access_key)
    endpoint = parse_endpoint(config.endpoint)
    admin = MinioAdmin(
        endpoint=endpoint.host,
        secure=endpoint.secure,
        region=config.region,
        credentials=CredentialSource(config),
        http_client=http or http_client(config, endpoint),
    )
    try:
        for role, (access_key, secret_key) in keys.items():
            admin.user_add(access_key, secret_key)
            admin.policy_add(f"pictor-{role}", policy=policy_of([role], places))
            admin.policy_set(f"pictor-{role}", user=access_key)
    except MinioAdminException as err:
        raise _explained(err._code, endpoint.url) from err
    except (HTTPError, OSError) as err:
        raise TransientError(
            f"S3 at {endpoint.url}: no answer; is the endpoint right and the service up?"
        ) from err
    return {role: access_key for role, (access_key, _) in keys.items()}


def read_users(text: str, *, other_than: str = "") -> Mapping[str, tuple[str, str]]:
    """Access and secret key by role. Raises ConfigError, which repeats no secret."""
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict) or not given:
        raise ConfigError(f'{SETTING}: a JSON object {{"ROLE": "ACCESS_KEY:SECRET_KEY"}} is expected')
    if unknown := sorted(given.keys() - ROLE_RIGHTS.keys()):
        raise ConfigError(f"{SETTING}: there is no role {unknown[0]!r}; roles are {', '.join(ROLE_RIGHTS)}")
    return {role: _read_pair(role, pair, other_than) for role, pair in given.items()}


def _read_pair(role: str, pair: object, other_than: str) -> tuple[str, str]:
    access_key, _, secret_key = pair.partition(":") if isinstance(pair, str) else ("", "", "")
    if len(access_key) < MIN_ACCESS_CHARS or len(secret_key) < MIN_SECRET_CHARS or access_key == other_than:
        raise ConfigError(
            f"{SETTING}: role {role}: ACCESS_KEY:SECRET_KEY is expected, of {MIN_ACCESS_CHARS} and of "
            f"{MIN_SECRET_CHARS} characters or more, and another key than PICTOR_S3_ACCESS_KEY"
        )
    return access_key, secret_key


def _explained(status: str, url: str) -> ConfigError | CredentialsError | TransientError:
    if status in _WRONG_KEYS:
        return CredentialsError(f"S3 at {url}: the user of PICTOR_S3_ACCESS_KEY may not make users")
    if status.startswith("5") or status == "429":
        return TransientError(f"S3 at {url}: answered {status}")
    return ConfigError(
        f"S3 at {url}: answered {status} when users were to be made. {SETTING} is for stores of MinIO's "
        "kind; unset it for others, and give their users the policies of `pictor init --s3-policy ROLES`"
    )
