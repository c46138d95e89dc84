"""Database users. Workers read and write the rows of jobs and add to the log. The HTTP service also keeps
keys and policies. Neither may change anything else.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from pipeline.adapters.ledger.audit_schema import audit_entry, audit_reference, audit_tile, audit_tree
from pipeline.adapters.ledger.engine import make_engine, read_url, translated
from pipeline.adapters.ledger.migrate import ADVISORY_LOCK, VERSION_TABLE
from pipeline.adapters.ledger.person_schema import collection_tag, person, person_face
from pipeline.adapters.ledger.policy_schema import case_clock, collection_policy
from pipeline.adapters.ledger.request_schema import api_request
from pipeline.adapters.ledger.schema import api_key, api_session, metadata
from pipeline.adapters.ledger.verification_schema import verification, verification_decision
from pipeline.errors import ConfigError

# Who could write these could make a key for everything, have the requests of others refused, or say whose
# faces are whose.
OF_THE_SERVICE = (api_key, api_session, api_request, person, person_face, collection_tag)
# Whoever takes an image out takes its faces from their persons, and can give them to nobody.
# A worker adds to the log, opens matches to verify, and starts the clock of a case. It changes none of them.
APPENDED = (audit_entry, audit_reference, audit_tile, case_clock, verification)
OF_PERSONS = (verification, verification_decision)  # who decide at the service


def make_worker_role(owner_url: str, worker_url: str, *, ca_file: str = "") -> str:
    """Make the user of `worker_url` unless it is there, and give it the rights of a worker.

    Args, Returns, Raises: see `make_service_role`.
    """
    return _make_role(owner_url, worker_url, (), "PICTOR_LEDGER_WORKER_URL", ca_file)


def make_service_role(owner_url: str, service_url: str, *, ca_file: str = "") -> str:
    """Make the user of `service_url` unless it is there, and give it the rights of the HTTP service.

    Safe to run twice and from several processes. The password of a user that is there stays as it is.

    Args:
        owner_url: of the same database, with the user who owns its tables and may make users.
        ca_file: see `read_url`.

    Returns:
        The user's name.

    Raises:
        ConfigError: one of the addresses is no PostgreSQL database, or they are of different ones.
        CredentialsError: the owner may not make users.
    """
    more = (*OF_THE_SERVICE, collection_policy, case_clock, *OF_PERSONS)
    return _make_role(owner_url, service_url, more, "PICTOR_LEDGER_SERVICE_URL", ca_file)


def _make_role(owner_url: str, user_url: str, more: Sequence[sa.Table], setting: str, ca_file: str) -> str:
    """Args: `more` tables than those of workers may be read and written."""
    owner, user = read_url(owner_url, ca_file=ca_file), read_url(user_url, ca_file=ca_file)
    name = _name_of(owner, user, setting)
    engine = make_engine(owner)
    try:
        with translated(owner), engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
            if not connection.scalar(sa.text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": name}):
                _make_user(connection, name, str(user.password or ""))
            _grant(connection, name, str(owner.database), more)
    finally:
        engine.dispose()
    return name


def _name_of(owner: sa.URL, user: sa.URL, setting: str) -> str:
    if "sqlite" in (owner.drivername, user.drivername) or not user.username or not user.password:
        raise ConfigError(
            f"{setting}: a PostgreSQL URL with user and password is expected, as the ledger's is"
        )
    if (owner.host, owner.port, owner.database) != (user.host, user.port, user.database):
        raise ConfigError(f"{setting} names another database than PICTOR_LEDGER_URL")
    if user.username == owner.username:
        raise ConfigError(f"{setting} has the user of PICTOR_LEDGER_URL; give it one of its own")
    return user.username


def _make_user(connection: sa.Connection, name: str, password: str) -> None:
    client = connection.connection.dbapi_connection
    assert client is not None
    # Hashed here: the text of a statement may stand in the server's log.
    verifier = client.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    role = connection.dialect.identifier_preparer.quote(name)
    connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD '{verifier}'")


def _grant(connection: sa.Connection, name: str, database: str, more: Sequence[sa.Table]) -> None:
    quote = connection.dialect.identifier_preparer.quote
    role = quote(name)
    others = (*OF_THE_SERVICE, *APPENDED, *OF_PERSONS, audit_tree, collection_policy)
    of_jobs = (table for table in metadata.sorted_tables if table not in others)
    rows = ", ".join(quote(table.name) for table in (*of_jobs, *more))
    appended = ", ".join(quote(table.name) for table in APPENDED)
    for statement in (
        f"GRANT CONNECT ON DATABASE {quote(database)} TO {role}",
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {rows} TO {role}",
        f"GRANT SELECT, INSERT ON {appended} TO {role}",
        f"GRANT SELECT, DELETE ON {quote(person_face.name)} TO {role}",
        f"GRANT SELECT, INSERT, UPDATE ON {quote(audit_tree.name)} TO {role}",
        f"GRANT SELECT ON {quote(VERSION_TABLE)}, {quote(collection_policy.name)} TO {role}",
    ):
        connection.exec_driver_sql(statement)
