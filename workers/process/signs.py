"""Files by which a worker's processes tell each other, and an operator, that it ends.

They must work on a full disk, where no file can be made and nothing be written. So they are made when the
worker starts. To drain is to remove one, and to stop is to rename one. The reason's words follow if they fit.
"""

import logging
from contextlib import suppress
from pathlib import Path

from pipeline.errors import FatalError, PictorError

logger = logging.getLogger(__name__)

_SERVING = "serving"  # removed when the worker drains
_FIT, _STOPPED = "fit", "stopped"  # the first becomes the second when a child stops its worker
NO_WORDS = "its log says why"


def make_signs(folder: Path) -> None:
    """Of a worker that starts.

    Raises:
        FatalError: the folder cannot be written to.
    """
    try:
        for name in (_SERVING, _FIT):
            (folder / name).touch()
    except OSError as err:
        raise FatalError(f"folder {folder} cannot be written to: {err.strerror}") from err


def sign_drains(folder: Path) -> None:
    (folder / _SERVING).unlink(missing_ok=True)


def drains(folder: Path) -> bool:
    return not (folder / _SERVING).exists()


def sign_stopped(folder: Path, error: PictorError) -> None:
    """Raises nothing: who stops a worker has nobody to tell."""
    stopped = folder / _STOPPED
    try:
        with suppress(FileNotFoundError):  # another child was first
            (folder / _FIT).rename(stopped)
        stopped.write_text(f"{error}\n", encoding="utf-8")
    except OSError as err:
        logger.error("reason not written", extra={"folder": str(folder), "errno": err.errno})


def why_stopped(folder: Path) -> str:
    """The reason of a worker that stopped itself. "" of any other."""
    try:
        return (folder / _STOPPED).read_text(encoding="utf-8").strip() or NO_WORDS
    except FileNotFoundError:
        return ""
    except OSError as err:
        return f"{NO_WORDS} ({err.strerror})"
