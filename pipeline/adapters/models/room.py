"""Whether a model fits into the memory of this process, before any of it is read."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.cgroup import read_share
from pipeline.errors import ModelError


def check_room(files: Iterable[Path], *, model: str) -> None:
    """Raises ModelError: the files are larger than the memory. Reading them would kill the process."""
    size_bytes, most_bytes = sum(path.stat().st_size for path in files), read_share().memory_bytes
    if size_bytes > most_bytes:
        raise ModelError(
            f"{model}: its weights are {size_bytes / 1e9:.1f} GB, more than the {most_bytes / 1e9:.1f} GB of "
            "memory that this process may use"
        )
