"""boto3, the AWS CLI and the JavaScript SDK, each from its registry, in a folder that goes away."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from botocore import xform_name

BOTO3, AWS_CLI, SDK = "boto3==1.44.8", "awscli==1.46.3", "@aws-sdk/client-rekognition@3.1142.0"
_RENAMED = {"Output": "stream-processor-output"}  # `--output` is one of the program itself
NODE, NPM = shutil.which("node") or "node", shutil.which("npm") or "npm"
HERE = Path(__file__).parent
_REFUSED = re.compile(
    r"An error occurred \((?P<code>\w+)\) when calling the \w+ operation: (?P<message>.*)", re.S
)

Members = Mapping[str, Any]


class RefusedError(Exception):
    """An error of the service, as the client understood it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Client(Protocol):
    """`is_raw`: its answers are what the service sent, and not what the client made of it."""

    name: str
    is_raw: bool

    def ask(self, operation: str, members: Members) -> dict[str, Any]:
        """Raises RefusedError. Args: bytes are written `{"base64": …}`."""


@dataclass
class LineClient:
    """A program that reads calls from lines, and writes a line for each."""

    name: str
    process: "subprocess.Popen[str]"
    is_raw: bool = False

    def ask(self, operation: str, members: Members) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([operation, members]) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        if "code" in found:
            raise RefusedError(found["code"], found["message"])
        return dict(found["answer"])


@dataclass
class CommandLine:
    """`aws rekognition`, a process for each call."""

    name: str
    program: Path
    folder: Path  # for pictures
    env: Mapping[str, str]
    is_raw: bool = field(default=False, init=False)

    def ask(self, operation: str, members: Members) -> dict[str, Any]:
        options = [text for name, value in members.items() for text in self._option(name, value)]
        done = subprocess.run(
            [sys.executable, str(self.program), "rekognition", xform_name(operation, "-"), *options],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        if found := _REFUSED.search(done.stderr):
            raise RefusedError(found["code"], found["message"].strip())
        if done.returncode:
            raise RuntimeError(f"aws {operation}: {done.stderr[-500:]}")
        return dict(json.loads(done.stdout or "{}"))

    def _option(self, name: str, value: Any) -> list[str]:
        option = f"--{_RENAMED.get(name) or xform_name(name, '-')}"
        match value:
            case {"Bytes": {"base64": text}}:
                path = self.folder / f"{name}.jpg"
                path.write_bytes(base64.b64decode(text))
                return [f"{option}-bytes", f"fileb://{path}"]
            case bool():
                return [option if value else f"--no-{xform_name(name, '-')}"]
            case dict() | list():
                return [option, json.dumps(_plain(value))]
            case _:
                return [option, str(value)]


def _plain(value: Any) -> Any:
    """Bytes deep within a structure are a text for this program."""
    match value:
        case {"base64": text}:
            return text
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case _:
            return value


def install_clients(folder: Path, env: Mapping[str, str], opened: ExitStack) -> list[Client]:
    """Args: `env`: where they ask, and with which keys."""
    python, node = folder / "python", folder / "node"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(python), BOTO3, AWS_CLI], check=True)
    node.mkdir()
    subprocess.run([NPM, "install", "--silent", "--no-fund", "--no-audit", SDK], cwd=node, check=True)
    of_python = {**os.environ, **env, "PYTHONPATH": str(python)}
    of_node = {**os.environ, **env, "SDK_FOLDER": str(node), "NODE_NO_WARNINGS": "1"}
    return [
        _lines(BOTO3, [sys.executable, str(HERE / "boto3_lines.py")], of_python, opened, is_raw=True),
        CommandLine(AWS_CLI, python / "bin" / "aws", folder, of_python),
        _lines(SDK, [NODE, str(HERE / "sdk_lines.mjs")], of_node, opened),
    ]


def _lines(
    name: str, command: list[str], env: Mapping[str, str], opened: ExitStack, *, is_raw: bool = False
) -> LineClient:
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    opened.callback(process.wait, 60)
    assert process.stdin
    opened.callback(process.stdin.close)  # before the wait: it ends with its input
    return LineClient(name, process, is_raw)
