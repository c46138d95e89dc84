"""Make random passwords for a Pictor with all its servers: `python deploy/make_secrets.py`.

One folder for each Kubernetes Secret, one file for each of its keys; deploy/compose.yaml mounts the same
files. Nothing is overwritten. Run it again to add the files of a later version. Standard library only.

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
from collections.abc import Mapping
from pathlib import Path

DEFAULT_DIR = Path(__file__).resolve().parent / "secrets"
LOGINS = "logins.txt"

_FLOWER = """\
basic_auth = ["operator:{flower}"]
broker_api = "http://monitor:{monitor}@rabbitmq:15672/api/"  # or its broker page is empty
"""
_MILVUS = """\
common:
  security:
    authorizationEnabled: true
    defaultRootPassword: "{milvus}"
"""
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
    """Write the files that are missing. Returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    # The folder keeps this machine's users out. The files are open to all, because each server in a container
    # has a user of its own, whose number is its image's business.
    folder.chmod(0o700)
    passwords = _passwords(folder / "passwords.json")
    written = []
    for name, text in _files(passwords).items():
        path = folder / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o600 if name == LOGINS else 0o644)
            written.append(path)
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
    """Kept, because one password stands in several files."""
    if not record.exists():
        names = ("pictor", "monitor", "admin", "postgres", "s3_access", "s3_secret", "milvus", "flower")
        with os.fdopen(os.open(record, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump({name: secrets.token_hex(20) for name in names}, out, indent=1)
    passwords = json.loads(record.read_text(encoding="utf-8"))
    assert isinstance(passwords, dict)
    return passwords


def _files(passwords: Mapping[str, str]) -> dict[str, str]:
    """Contents by path: <Secret>/<key>."""
    return {
        "pictor-secrets/PICTOR_BROKER_URL": f"amqp://pictor:{passwords['pictor']}@rabbitmq:5672/pictor",
        "pictor-secrets/PICTOR_LEDGER_URL": (
            f"postgresql+psycopg://pictor:{passwords['postgres']}@postgres:5432/pictor?sslmode=disable"
        ),
        "pictor-secrets/PICTOR_S3_ACCESS_KEY": passwords["s3_access"],
        "pictor-secrets/PICTOR_S3_SECRET_KEY": passwords["s3_secret"],
        "pictor-secrets/PICTOR_MILVUS_TOKEN": f"root:{passwords['milvus']}",
        "flower-config/flowerconfig.py": _FLOWER.format_map(passwords),
        "rabbitmq-definitions/definitions.json": _rabbitmq_definitions(passwords),
        "postgres-password/password": passwords["postgres"],
        "object-store-config/config.env": (
            f"export MINIO_ROOT_USER={passwords['s3_access']}\n"
            f"export MINIO_ROOT_PASSWORD={passwords['s3_secret']}\n"
        ),
        "milvus-config/user.yaml": _MILVUS.format_map(passwords),
        "keda-rabbitmq/host": "http://rabbitmq.pictor.svc:15672/pictor",  # the last part is the virtual host
        "keda-rabbitmq/username": "monitor",
        "keda-rabbitmq/password": passwords["monitor"],
        LOGINS: _LOGINS.format_map(passwords),
    }


def _rabbitmq_definitions(passwords: Mapping[str, str]) -> str:
    """The definitions that the broker loads when it starts. They have no user `guest`."""
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    none = dict.fromkeys(rights, "^$")  # of a user that only looks: the HTTP API asks for its tag
    return json.dumps(
        {
            "vhosts": [{"name": "pictor"}],
            "users": [
                _rabbitmq_user("pictor", passwords["pictor"], ""),
                _rabbitmq_user("monitor", passwords["monitor"], "monitoring"),  # Flower and KEDA
                _rabbitmq_user("admin", passwords["admin"], "administrator"),  # people
            ],
            "permissions": [
                {"user": "pictor", "vhost": "pictor", **rights},
                {"user": "monitor", "vhost": "pictor", **none},
                {"user": "admin", "vhost": "pictor", **rights},
            ],
        },
        indent=1,
    )


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
