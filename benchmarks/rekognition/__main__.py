"""Every operation of the API by three clients: `python -m benchmarks.rekognition --model M --pictures F`.

A service is started in a folder that goes away. The folder of pictures has one folder for each person, with
two pictures `a.jpg` and `b.jpg`. It needs a package index, and npm.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import botocore.session

from benchmarks.http_ways import running_service
from benchmarks.processes import clean_environment
from benchmarks.rekognition.clients import install_clients
from benchmarks.rekognition.scenario import Pictures, Played, play

PURPOSE = "test"
POLICY = {"faces": True, "purposes": [{"code": PURPOSE, "text": "A test"}], "roles": ["admin"]}
COLLECTION = "clients"


def main() -> int:
    options = _parse()
    model = botocore.session.Session().get_service_model("rekognition")
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="rekognition-")))
        env = _settings(folder, options.model)
        _pictor(env, "evaluate", str(options.pictures), "--calibrate", env["PICTOR_CALIBRATION"])
        service = opened.enter_context(running_service(env, folder, "--allow", str(options.pictures)))
        clients = install_clients(folder, _pair(env) | _address(service.url), opened)
        played = [play(client, model, Pictures(folder=options.pictures), COLLECTION) for client in clients]
    print(table(played))
    return 1 if any(faults for found in played for faults in found.faults.values()) else 0


def table(played: list[Played]) -> str:
    """As the guide has it, and beneath it what went wrong."""
    lines = ["| operation | " + " | ".join(found.client.name for found in played) + " |"]
    lines.append("|---|" + "---|" * len(played))
    for operation in played[0].faults:
        states = ["fails" if found.faults.get(operation) else "yes" for found in played]
        lines.append(f"| {operation} | " + " | ".join(states) + " |")
    refused = [str(len(found.refused)) for found in played]
    lines.append("| others, refused as the model says | " + " | ".join(refused) + " |")
    lines += [
        f"{found.client.name}: {operation}: {fault}"
        for found in played
        for operation, faults in found.faults.items()
        for fault in faults
    ]
    return "\n".join(lines)


def _settings(folder: Path, model: Path) -> dict[str, str]:
    policy = folder / "policy.json"
    policy.write_text(json.dumps(POLICY), encoding="utf-8")
    return {
        "PICTOR_HOME": str(folder / "home"),
        "PICTOR_MODEL": str(model),
        "PICTOR_SERVICE_KEYS": "required",
        "PICTOR_REKOGNITION": "on",
        "PICTOR_REKOGNITION_KEY": secrets.token_urlsafe(48),
        "PICTOR_REKOGNITION_POLICY": str(policy),
        "PICTOR_REKOGNITION_COLLECTION": COLLECTION,
        "PICTOR_CALIBRATION": str(folder / "calibration.json"),
    }


def _pair(env: Mapping[str, str]) -> dict[str, str]:
    """The credentials of an administrator's key, which says why it searches: these clients cannot."""
    create = ("keys", "create", "clients", "--role", "admin", "--purpose", PURPOSE, "--aws", "--json")
    made = json.loads(_pictor(env, *create))
    return {name.upper(): made[name] for name in ("aws_access_key_id", "aws_secret_access_key")}


def _pictor(env: Mapping[str, str], *arguments: str) -> bytes:
    """Its standard output."""
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    return subprocess.run(command, env=clean_environment(env), stdout=subprocess.PIPE, check=True).stdout


def _address(url: str) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL_REKOGNITION": f"{url}/rekognition", "AWS_REGION": "eu-central-1"} | {
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rekognition", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the model file (.toml)")
    parser.add_argument("--pictures", type=Path, required=True, help="a folder for each person")
    options = parser.parse_args()
    options.model, options.pictures = options.model.resolve(), options.pictures.resolve()
    return options


if __name__ == "__main__":
    sys.exit(main())
