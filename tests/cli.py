"""The command line as a user has it: another process, its output, its exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from tests import warm_cli
from tests.conftest import REPOSITORY

TIMEOUT_S = 300


@dataclass(frozen=True, kw_only=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        return self.lines[-1]


@dataclass(frozen=True, kw_only=True)
class Pictor:
    """Runs `pictor` with a home of its own and nothing of this shell's settings."""

    home: Path
    env: Mapping[str, str]
    prefix: tuple[str, ...] = ()  # a command that runs ours

    def __call__(self, *arguments: str | Path, code: int | None = 0, **env: str) -> Ran:
        done = self._run_cold(arguments, env) if self.prefix else self._run_warm(arguments, env)
        ran = Ran(code=done.returncode, out=done.stdout, err=done.stderr)
        assert code is None or ran.code == code, f"exit {ran.code}\n{ran.out}\n{ran.err}"
        return ran

    def _run_warm(
        self, arguments: Sequence[str | Path], env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        return warm_cli.run(words, env=self.environment(env), cwd="/", timeout_s=TIMEOUT_S)

    def _run_cold(
        self, arguments: Sequence[str | Path], env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(arguments),
            env=self.environment(env),
            cwd="/",
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=TIMEOUT_S,
            check=False,
        )

    def within(self, env: Mapping[str, str]) -> Self:
        """The same home with these variables, too."""
        return replace(self, env={**self.env, **env})

    def start(self, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self.command(arguments),
            env=self.environment({}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def command(self, arguments: Sequence[str | Path]) -> list[str]:
        return [
            *self.prefix,
            sys.executable,
            "-m",
            "pipeline.cli",
            *(str(argument) for argument in arguments),
        ]

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("PICTOR_", "AWS_"))
        }
        return (
            clean
            # torch: each test would try the backends anew.
            | {"PICTOR_HOME": str(self.home), "PYTHONPATH": str(REPOSITORY), "PICTOR_BACKEND": "torch"}
            | dict(self.env)
            | dict(more)
        )
