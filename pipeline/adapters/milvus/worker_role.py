"""Milvus users: one for workers, who make and fill collections and drop none, and one for the HTTP service,
who also drops them. Neither makes users.
"""

import time
from collections.abc import Sequence

from pymilvus import MilvusClient

from pipeline.adapters.milvus.connection import MilvusConnection
from pipeline.errors import ConfigError, CredentialsError

ROLE, SERVICE_ROLE = "pictor_worker", "pictor_service"
# A plan worker makes the collection of a job. Nobody here drops, renames or looks at users.
_OF_SERVER = (
    *("CreateCollection", "DescribeCollection", "ShowCollections"),
    *("CreateAlias", "DescribeAlias", "ListAliases"),
)
_OF_COLLECTIONS = (
    *("CreateIndex", "IndexDetail", "Load", "GetLoadState", "GetLoadingProgress", "GetStatistics"),
    *("Insert", "Upsert", "Delete", "Search", "Query", "Flush", "GetFlushState"),
)
_OF_THE_SERVICE = ("DropCollection", "DropAlias")  # besides
TIMEOUT_S = 30.0
PATIENCE_S, PAUSE_S = 300.0, 0.2  # 2.3.5 lets rights come into force late: mostly a second, at times minutes


def make_worker_role(uri: str, *, owner_token: str, token: str, ca_file: str = "") -> str:
    """Make the user of `token` unless it is there, give it its rights, and wait until it has them.

    Args, Returns, Raises: see `make_service_role`.
    """
    return _make(uri, owner_token, token, ROLE, _OF_SERVER, "PICTOR_MILVUS_WORKER_TOKEN", ca_file)


def make_service_role(uri: str, *, owner_token: str, token: str, ca_file: str = "") -> str:
    """The same for the HTTP service.

    Safe to run twice. The password of a user that is there stays as it is.

    Args:
        owner_token: of a user who may make users and roles.
        ca_file: of the authorities to trust. "" are those of this machine.

    Returns:
        The user's name.

    Raises:
        ConfigError: the token is not `user:password` of another user than the owner.
        CredentialsError: the owner may not make users, or the user is there with another password.
    """
    rights = (*_OF_SERVER, *_OF_THE_SERVICE)
    return _make(uri, owner_token, token, SERVICE_ROLE, rights, "PICTOR_MILVUS_SERVICE_TOKEN", ca_file)


def _make(
    uri: str,
    owner_token: str,
    token: str,
    role: str,
    of_server: Sequence[str],
    setting: str,
    ca_file: str,
) -> str:
    name, _, password = token.partition(":")
    if not name or not password or name == owner_token.partition(":")[0]:
        raise ConfigError(f"{setting}: user:password is expected, and a user of its own")
    connection = MilvusConnection(uri, token=owner_token, timeout_s=TIMEOUT_S, ca_file=ca_file)
    try:
        if connection.lite:
            raise ConfigError(f"{setting}: Milvus Lite has no users")
        connection.call(lambda client: _make_role(client, role, of_server))
        connection.call(lambda client: _make_user(client, name, password, role))
    finally:
        connection.close()
    _wait_for_rights(uri, token, ca_file)
    return name


def _make_role(client: MilvusClient, role: str, of_server: Sequence[str]) -> None:
    if role not in client.list_roles(timeout=TIMEOUT_S):
        client.create_role(role, timeout=TIMEOUT_S)
    given = {each["privilege"] for each in client.describe_role(role, timeout=TIMEOUT_S)["privileges"]}
    for kind, privileges in (("Global", of_server), ("Collection", _OF_COLLECTIONS)):
        for privilege in privileges:
            if privilege not in given:
                client.grant_privilege(role, kind, privilege, "*", timeout=TIMEOUT_S)


def _make_user(client: MilvusClient, name: str, password: str, role: str) -> None:
    if name not in client.list_users(timeout=TIMEOUT_S):
        client.create_user(name, password, timeout=TIMEOUT_S)
    client.grant_role(name, role, timeout=TIMEOUT_S)


def _wait_for_rights(uri: str, token: str, ca_file: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection = MilvusConnection(uri, token=token, timeout_s=TIMEOUT_S, ca_file=ca_file)
            try:
                connection.call(lambda client: client.list_collections(timeout=TIMEOUT_S))
            finally:
                connection.close()
            return
        except CredentialsError:
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_S)
