"""Who may read what a command writes: the home is the user's alone, results are for whom the shell says."""

import os
from pathlib import Path

from pipeline.home import PRIVATE_UMASK

_shells_umask = PRIVATE_UMASK  # of this process; what `keep_private` found


def keep_private() -> None:
    """Let files that this process and its children make be for nobody else. Called once, at its start."""
    global _shells_umask
    _shells_umask = os.umask(PRIVATE_UMASK)


def share(file: Path) -> None:
    """Give a result, which the user asked for by its name, the rights that any other program would."""
    file.chmod(0o666 & ~_shells_umask)
