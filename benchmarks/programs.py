"""Small programs that measure themselves: each is run in a process of its own and prints one JSON object."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.processes import TIMEOUT_S, ContestantError, clean_environment


def start_program(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> "Program":
    return Program(module, arguments, env or {})


def run_program(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Raises ContestantError when it fails."""
    return start_program(module, *arguments, env=env).result()


class Program:
    """A running `python -m benchmarks.<module>` with an empty home, which is gone when its result is read."""

    def __init__(self, module: str, arguments: tuple[str, ...], env: Mapping[str, str]) -> None:
        self._module = module
        self._home = tempfile.TemporaryDirectory(prefix="bench-program-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", *arguments],
            env=clean_environment({"PICTOR_HOME": str(Path(self._home.name) / "home")} | dict(env)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def result(self) -> dict[str, Any]:
        """Wait for its end. Raises ContestantError when it failed or took too long."""
        try:
            out, err = self._process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as late:
            self._process.kill()
            self._process.communicate()
            raise ContestantError(f"{self._module} was not done after {TIMEOUT_S:g} s") from late
        finally:
            self._home.cleanup()
        if self._process.returncode != 0:
            raise ContestantError(f"{self._module} ended with {self._process.returncode}:\n{err[-2000:]}")
        fields: dict[str, Any] = json.loads(out.splitlines()[-1])
        return fields
