"""The rights of files that a command writes. The home is private, results follow the shell's umask."""

import os
from pathlib import Path

from pipeline.home import PRIVATE_UMASK

_shells_umask = PRIVATE_UMASK  # of this process, as `keep_private` found it


def keep_private() -> None:
    """Let files that this process and its children make be for nobody else. Called once, at its start."""
    global _shells_umask
    _shells_umask = os.umask(PRIVATE_UMASK)


def share(file: Path) -> None:
    """Give a result, which the user asked for by its name, the rights that any other program would."""
    file.chmod(0o666 & ~_shells_umask)
