"""The one value that a worker's main process tells the processes that it starts, in their environment.

Its children are fresh interpreters, and so are the trials that they start. The variable is no setting, and
nobody sets it by hand. No other module of workers reads or writes the environment.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import FatalError
from pipeline.types import ModelSpec

WORKER_VARIABLE = "PICTOR_WORKER"
_METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own, read when it is imported


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """The worker that a process belongs to, and its queues."""

    folder: Path  # with the worker's ready, heartbeat and stopped files
    main_pid: int
    queues: tuple[str, ...]
    children: int
    device: str  # `--device` of the command line, or the setting
    model: ModelSpec  # read once: torch and the weights would stay in the memory of the main process

    def to_env(self) -> dict[str, str]:
        return {WORKER_VARIABLE: _JSON.dump_json(self).decode()}

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises FatalError: no worker has started this process."""
        try:
            return cls._read(environ[WORKER_VARIABLE])
        except (KeyError, ValidationError):
            raise FatalError("no worker has started this process") from None

    @classmethod
    def _read(cls, text: str) -> Self:
        identity = _JSON.validate_json(text)
        assert isinstance(identity, cls)
        return identity


_JSON = TypeAdapter(Identity)


def tell_children(identity: Identity) -> None:
    """Let every process that this one starts from now on know it. This process knows it, too."""
    os.environ.update(identity.to_env())


def told_identity() -> Identity:
    """The identity that the main process has told this process.

    Raises:
        FatalError: no worker has started this process.
    """
    return Identity.from_env(os.environ)


def folder_of_worker(pid: int) -> Path | None:
    """The folder of the worker that a living process belongs to. None for any other process."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return None
    pairs = (variable.decode(errors="replace").partition("=") for variable in variables)
    try:
        return Identity.from_env({name: value for name, _, value in pairs}).folder
    except FatalError:
        return None


def share_metrics_in(folder: Path | None) -> None:
    """Tell prometheus_client where the processes of this worker keep their counts. None: nowhere."""
    if folder is None:
        os.environ.pop(_METRICS_VARIABLE, None)  # somebody else's
    else:
        os.environ[_METRICS_VARIABLE] = str(folder)
