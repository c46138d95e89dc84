"""What a trial found, kept for the next process."""

import fcntl
import hashlib
import json
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.adapters.models.backends.backend import Backend, backend_versions, cpu_description
from pipeline.adapters.models.backends.trial import Trial
from pipeline.adapters.models.whole_file import write_whole

logger = logging.getLogger(__name__)

VERSION = 1  # of the file and of how trials are made


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """All that the answer depends on."""

    fingerprint: str
    precision: str  # as it was asked for
    pass_threads: int
    pass_items: int

    def key(self) -> str:
        """The same only where the same versions run on the same kind of CPU."""
        content = asdict(self) | {
            "versions": backend_versions(),
            "cpu": cpu_description(),
            "format": VERSION,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def recall(question: Question, folder: Path) -> Sequence[Trial] | None:
    """None: nobody asked this before, or what was kept is damaged."""
    try:
        kept = json.loads(_path(question, folder).read_bytes())
        if kept["key"] != question.key():
            return None
        return [_parse(fields) for fields in kept["trials"]] or None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def remember(question: Question, trials: Sequence[Trial], folder: Path) -> None:
    """Where the folder cannot be written, the next process tries again."""
    kept = {"key": question.key(), "trials": [asdict(trial) for trial in trials]}
    try:
        write_whole(_path(question, folder), json.dumps(kept, indent=1).encode())
    except OSError as err:
        logger.warning("a trial of backends is not kept", extra={"folder": str(folder), "why": err.strerror})


@contextmanager
def one_trial_at_a_time(folder: Path) -> Iterator[None]:
    """Among the processes of this machine: those that are measured side by side are slowed by each other."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "trial.lock").open("a")
    except OSError:  # a folder that cannot be written has no memo to wait for
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _path(question: Question, folder: Path) -> Path:
    return folder / f"{question.fingerprint[:16]}-{question.key()[:16]}.json"


def _parse(fields: dict[str, object]) -> Trial:
    """Raises KeyError, TypeError or ValueError for what is no trial."""
    numbers = [fields[name] for name in ("images_per_s", "cosine")]
    texts = [fields[name] for name in ("backend", "precision", "refused")]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("not a trial")
    speed, cosine = (float(number) for number in numbers if isinstance(number, int | float))
    if not (math.isfinite(speed) and math.isfinite(cosine)):
        raise ValueError("not a trial")
    backend, precision, refused = map(str, texts)
    return Trial(
        backend=Backend(backend), precision=precision, images_per_s=speed, cosine=cosine, refused=refused
    )
