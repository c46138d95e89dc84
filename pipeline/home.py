"""PICTOR_HOME belongs to one user: other users of the machine cannot enter it.

Whatever it holds is closed as well, because a home may have been made before, with other rights. Of a folder
that holds other things, too, only our own are touched: it may be one that many people use.
"""

import logging
import os
import stat
from pathlib import Path

from pipeline.errors import ConfigError

logger = logging.getLogger(__name__)
logger.setLevel(logging.WARNING)  # said by commands, too, which log no warnings of others

PRIVATE_UMASK = 0o077
OURS = ("server.json", "milvus.db", "ledger.db", "models", "run", "locks", "host", "audit", "uploads")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private(home: Path) -> None:
    """Make the folder, or close an existing one with our files in it. Safe to run at any time.

    A folder of another user stays as it is: a container is given its volumes so.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        if not home.exists():
            home.mkdir(parents=True, exist_ok=True)
            home.chmod(stat.S_IRWXU)  # whatever the umask says
            return
        if not home.is_dir():
            raise ConfigError(f"PICTOR_HOME: {home} is not a folder")
        closed = [path for path in _own_parts(home) if _close(path)]
    except OSError as err:
        raise ConfigError(f"PICTOR_HOME: folder {home} cannot be made: {err.strerror}") from err
    if closed:
        logger.warning(
            "other users could read PICTOR_HOME, and cannot any more",
            extra={"home": str(home), "closed": len(closed)},
        )


def _own_parts(home: Path) -> list[Path]:
    """The folder first, so that nobody can change the rest any more; but only if all in it is ours."""
    parts = sorted(home.iterdir())
    ours = [path for path in parts if path.name.startswith(OURS)]
    return [home, *ours] if len(ours) == len(parts) else ours


def _close(path: Path) -> bool:
    """Take their rights from all others. Returns whether they had some."""
    state = path.lstat()
    if stat.S_ISLNK(state.st_mode) or state.st_uid != os.getuid() or not state.st_mode & _OTHERS:
        return False
    path.chmod(stat.S_IMODE(state.st_mode) & ~_OTHERS)
    return True
