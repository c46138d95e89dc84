"""The home of this process: whose jobs are its own, and where they are locked."""

import os
import socket
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.home import make_private
from pipeline.settings import Settings
from pipeline.types import embedded_on


def make_home(settings: Settings) -> None:
    make_private(settings.home)


def driver_here(settings: Settings) -> str:
    """Who drives a job that this process runs.

    The name of the host is noted in the home when it is first asked for: a container has another one at
    each start, and its home stays.
    """
    make_home(settings)
    noted = settings.home / "host"
    try:
        if not noted.exists():
            written = settings.home / f"host.{os.getpid()}"  # whole or not at all: others may read at once
            written.write_text(socket.gethostname(), encoding="utf-8")
            written.replace(noted)
        return embedded_on(noted.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"PICTOR_HOME: file {noted} cannot be read or written") from err


def job_locks(settings: Settings) -> Path:
    """The folder of locks of embedded jobs: beside a ledger that is a file, whoever else uses it."""
    from pipeline.adapters.ledger.engine import folder_of, read_url

    return (folder_of(read_url(settings.ledger_target)) or settings.home) / "locks"
