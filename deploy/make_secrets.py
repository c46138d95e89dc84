"""Make random passwords for a Pictor with all its servers: `python deploy/make_secrets.py`.

One folder for each Kubernetes Secret, one file for each of its keys; deploy/compose.yaml mounts the same
files. Nothing is overwritten. Run it again to add the files of a later version, and to delete those that have
no reader any more. Standard library only.

    python deploy/make_secrets.py [--dir deploy/secrets]
    python deploy/make_secrets.py --kubernetes | kubectl apply -n pictor -f -
"""

import argparse
import base64
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

DEFAULT_DIR = Path(__file__).resolve().parent / "secrets"
LOGINS = "logins.txt"
DEFINITIONS = "rabbitmq-definitions/definitions.json"

_FLOWER = """\
basic_auth = ["operator:{flower}"]
broker_api = "http://monitor:{monitor}@rabbitmq:15672/api/"  # or its broker page is empty
read_only = True  # workers take no orders from it
"""
_MILVUS = """\
common:
  security:
    authorizationEnabled: true
    defaultRootPassword: "{milvus}"
"""
# What each user of the broker may configure (declare and delete), write and read. Names are those of queues,
# and of exchanges, which bear the names of their queues. Who binds a queue writes it and reads its exchange.
# Who declares one also writes its exchange of dead letters. docs/how-to/operate.md has the same as a table.
_BATCHES = "(prepare|embed)[.][0-9a-f]{8}"  # of any model
_FORMER = "embed|ingest"  # of the version before
_SEARCH = "search([.][0-9a-f]{8})?"
_DELAYED = "celery_delayed_.*"  # where messages wait that are to be delivered later
_EVENTS = "celeryev"  # what Flower is told
_DEAD = "pictor[.]dead"
_REPLIES = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # the queue of answers of one client
_ANSWERS = "amq[.]default"  # by which an answer finds its queue, whatever that is called
_NO_NAME = "^$"  # RabbitMQ's own way to say nothing
_FLOWER_S = "celeryev.*|.*celery[.]pidbox"  # with its questions to workers, which do not listen

_SERVERS = ("pictor", "monitor", "admin", "postgres", "s3_access", "s3_secret", "milvus")
Rights = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
BROKER_RIGHTS: Mapping[str, Rights] = {
    "plan": (
        ("plan", _BATCHES, _DELAYED, _EVENTS),
        ("plan", _BATCHES, _DELAYED, _EVENTS, _DEAD),
        ("plan", _BATCHES, _DELAYED),
    ),
    "prepare": (
        (_BATCHES, _FORMER, _DELAYED, _EVENTS),
        (_BATCHES, _FORMER, _DELAYED, _EVENTS, _DEAD),
        (_BATCHES, _FORMER, _DELAYED),
    ),
    "embed": (
        (_BATCHES, _FORMER, _DELAYED, _EVENTS),
        (_BATCHES, _FORMER, _DELAYED, _EVENTS, _DEAD),
        (_BATCHES, _FORMER, _DELAYED),
    ),
    "search": (
        (_SEARCH, _DELAYED, _EVENTS),
        (_SEARCH, _DELAYED, _EVENTS, _DEAD, _ANSWERS),
        (_SEARCH, _DELAYED),
    ),
    "flower": ((_FLOWER_S,), (_FLOWER_S,), (_FLOWER_S,)),
    "api": ((), ("plan",), ()),  # the HTTP service: it wakes planners, and asks the broker nothing
    "submit": ((_REPLIES,), ("plan", "search"), (_REPLIES,)),  # other services; see docs/reference/tasks.md
}
# Each has a user of the object store, whose rights `pictor init --s3-policy ROLE` prints.
S3_ROLES = ("plan", "prepare", "embed", "search", "api", "sweep")

_PASSWORDS = (
    *_SERVERS,
    "flower",
    "worker_ledger",
    "worker_milvus",
    "audit_key",
    "service_ledger",
    "service_milvus",
    "service_cursor",
    *(f"broker_{user}" for user in BROKER_RIGHTS),
    *(f"s3_{role}" for role in S3_ROLES),
)
# Of versions that gave every role the key of the object store's root.
_FORMER_FILES = tuple(
    f"{secret}/PICTOR_S3_{kind}_KEY"
    for secret in ("pictor-worker", "pictor-api")
    for kind in ("ACCESS", "SECRET")
)
_LOGINS = """\
RabbitMQ   http://127.0.0.1:15672   admin      {admin}
Flower     http://127.0.0.1:5555    operator   {flower}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the secrets of a Pictor with all its servers.")
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIR, help="where they are kept")
    parser.add_argument("--kubernetes", action="store_true", help="print them as Kubernetes Secrets")
    arguments = parser.parse_args()
    for path in write_secrets(arguments.dir):
        print(f"wrote {path}", file=sys.stderr)
    if arguments.kubernetes:
        json.dump(kubernetes_secrets(arguments.dir), sys.stdout, indent=1)
    return 0


def write_secrets(folder: Path) -> list[Path]:
    """Write the files that are missing, delete those without a reader, and return those written."""
    folder.mkdir(parents=True, exist_ok=True)
    # The folder keeps this machine's users out. The files are open to all, because each server in a container
    # has a user of its own, whose number is its image's business.
    folder.chmod(0o700)
    passwords = _passwords(folder / "passwords.json")
    written = []
    for name, text in _files(passwords).items():
        path = folder / name
        if name == DEFINITIONS and path.exists():
            text = _with_missing_users(path.read_text(encoding="utf-8"), text)
        if not path.exists() or (name == DEFINITIONS and path.read_text(encoding="utf-8") != text):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o600 if name == LOGINS else 0o644)
            written.append(path)
    for name in _FORMER_FILES:
        (folder / name).unlink(missing_ok=True)
    return written


def kubernetes_secrets(folder: Path) -> dict[str, object]:
    """The folder as a List of Secrets, which `kubectl apply` reads."""
    items = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret.name},
            "type": "Opaque",
            "stringData": {file.name: file.read_text(encoding="utf-8") for file in sorted(secret.iterdir())},
        }
        for secret in sorted(path for path in folder.iterdir() if path.is_dir())
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _passwords(record: Path) -> Mapping[str, str]:
    """Kept, because one password stands in several files. Those that a later version needs are added."""
    known: dict[str, str] = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    passwords = {name: secrets.token_hex(20) for name in _PASSWORDS} | known
    if passwords != known:
        with os.fdopen(os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(passwords, out, indent=1)
    return passwords


def _files(passwords: Mapping[str, str]) -> dict[str, str]:
    """Contents by path: <Secret>/<key>."""
    brokers = {
        f"pictor-broker-{user}/PICTOR_BROKER_URL": _broker_url(user, passwords[f"broker_{user}"])
        for user in BROKER_RIGHTS
    }
    stores = {
        f"pictor-s3-{role}/PICTOR_S3_{kind}_KEY": text
        for role in S3_ROLES
        for kind, text in {"ACCESS": _s3_user(role), "SECRET": passwords[f"s3_{role}"]}.items()
    }
    s3_users = {role: f"{_s3_user(role)}:{passwords[f's3_{role}']}" for role in S3_ROLES}
    return (
        brokers
        | stores
        | {
            "pictor-secrets/PICTOR_BROKER_URL": _broker_url("pictor", passwords["pictor"]),
            "pictor-secrets/PICTOR_LEDGER_URL": _ledger_url("pictor", passwords["postgres"]),
            "pictor-secrets/PICTOR_LEDGER_WORKER_URL": _ledger_url(
                "pictor_worker", passwords["worker_ledger"]
            ),
            "pictor-secrets/PICTOR_S3_ACCESS_KEY": passwords["s3_access"],
            "pictor-secrets/PICTOR_S3_SECRET_KEY": passwords["s3_secret"],
            "pictor-secrets/PICTOR_S3_USERS": json.dumps(s3_users),
            "pictor-secrets/PICTOR_MILVUS_WORKER_TOKEN": f"pictor_worker:{passwords['worker_milvus']}",
            "pictor-secrets/PICTOR_LEDGER_SERVICE_URL": _ledger_url(
                "pictor_service", passwords["service_ledger"]
            ),
            "pictor-secrets/PICTOR_MILVUS_SERVICE_TOKEN": f"pictor_service:{passwords['service_milvus']}",
            "pictor-secrets/PICTOR_MILVUS_TOKEN": f"root:{passwords['milvus']}",
            "pictor-worker/PICTOR_LEDGER_URL": _ledger_url("pictor_worker", passwords["worker_ledger"]),
            "pictor-secrets/PICTOR_AUDIT_KEY": passwords["audit_key"],
            "pictor-worker/PICTOR_AUDIT_KEY": passwords["audit_key"],
            "pictor-worker/PICTOR_MILVUS_TOKEN": f"pictor_worker:{passwords['worker_milvus']}",
            "pictor-api/PICTOR_LEDGER_URL": _ledger_url("pictor_service", passwords["service_ledger"]),
            "pictor-api/PICTOR_AUDIT_KEY": passwords["audit_key"],
            "pictor-api/PICTOR_MILVUS_TOKEN": f"pictor_service:{passwords['service_milvus']}",
            "pictor-api/PICTOR_SERVICE_CURSOR_KEY": passwords["service_cursor"],
            "flower-config/flowerconfig.py": _FLOWER.format_map(passwords),
            DEFINITIONS: _rabbitmq_definitions(passwords),
            "postgres-password/password": passwords["postgres"],
            "object-store-config/config.env": (
                f"export MINIO_ROOT_USER={passwords['s3_access']}\n"
                f"export MINIO_ROOT_PASSWORD={passwords['s3_secret']}\n"
            ),
            "milvus-config/user.yaml": _MILVUS.format_map(passwords),
            "keda-rabbitmq/host": "http://rabbitmq.pictor.svc:15672/pictor",  # with the virtual host
            "keda-rabbitmq/username": "monitor",
            "keda-rabbitmq/password": passwords["monitor"],
            LOGINS: _LOGINS.format_map(passwords),
        }
    )


def _broker_url(user: str, password: str) -> str:
    return f"amqp://{user}:{password}@rabbitmq:5672/pictor"


def _s3_user(role: str) -> str:
    return f"pictor-{role}"


def _ledger_url(user: str, password: str) -> str:
    return f"postgresql+psycopg://{user}:{password}@postgres:5432/pictor?sslmode=disable"


def broker_permissions(*users: str) -> dict[str, str]:
    """The rights of these users together, as RabbitMQ has them: expressions for whole names."""
    found = [BROKER_RIGHTS[user] for user in users]
    kinds = {"configure": 0, "write": 1, "read": 2}
    return {
        kind: _one_of(name for rights in found for name in rights[place]) for kind, place in kinds.items()
    }


def _one_of(names: Iterable[str]) -> str:
    each = "|".join(dict.fromkeys(names))
    return f"^({each})$" if each else _NO_NAME


def _rabbitmq_definitions(passwords: Mapping[str, str]) -> str:
    """What the broker loads when it starts. With it there is no user `guest`."""
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    nothing = dict.fromkeys(everything, _NO_NAME)  # of a user that only looks: the HTTP API asks for its tag
    rights = {user: broker_permissions(user) for user in BROKER_RIGHTS}
    rights |= {"pictor": everything, "monitor": nothing, "admin": everything}
    logins = {user: passwords[f"broker_{user}"] for user in BROKER_RIGHTS}
    logins |= {user: passwords[user] for user in ("pictor", "monitor", "admin")}
    tags = {"monitor": "monitoring", "admin": "administrator"}  # Flower and KEDA; people
    return json.dumps(
        {
            "vhosts": [{"name": "pictor"}],
            "users": [_rabbitmq_user(user, logins[user], tags.get(user, "")) for user in rights],
            "permissions": [{"user": user, "vhost": "pictor", **given} for user, given in rights.items()],
        },
        indent=1,
    )


def _with_missing_users(present: str, wanted: str) -> str:
    """The definitions that are there, with the users that they lack."""
    definitions, complete = json.loads(present), json.loads(wanted)
    known = {user["name"] for user in definitions["users"]}
    for kind, name in (("users", "name"), ("permissions", "user")):
        definitions[kind] += [each for each in complete[kind] if each[name] not in known]
    return json.dumps(definitions, indent=1)


def _rabbitmq_user(name: str, password: str, tags: str) -> dict[str, str]:
    salt = secrets.token_bytes(4)  # four bytes, before the hash of both: RabbitMQ's own format
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": tags,
    }


if __name__ == "__main__":
    sys.exit(main())
