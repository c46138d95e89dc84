"""The clock of a contestant, and how it tells its result. Imports nothing that costs time.

Two times are taken, and each is compared with its like only; both end when the last embedding is stored.
`seconds` begins when the work is asked for and holds the loading of the model, in a framework also the start
of its actors. `warm_seconds` begins when the model is ready. The whole process, imports included, is timed by
whoever starts it.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Clocked:
    images: int
    seconds: float
    warm_seconds: float
    cpu_seconds: float = 0.0  # of this process, within `seconds`; 0: not known
    ended: float = 0.0  # time.time(), to be compared with other processes' notes
    versions: Mapping[str, str] = field(default_factory=dict)


class Clock:
    """Started when the work is asked for."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()
        self.began = time.time()  # comparable between processes

    def stop(self, images: int, *, warm_since: float | None = None, **versions: str) -> Clocked:
        """Args: `warm_since` is the time.time() at which the model was ready; default: when this was made."""
        seconds = time.perf_counter() - self._wall
        late = max(0.0, (warm_since or self.began) - self.began)
        return Clocked(
            images=images,
            seconds=seconds,
            warm_seconds=seconds - late,
            cpu_seconds=time.process_time() - self._cpu,
            ended=time.time(),
            versions=versions,
        )


def parser_of(about: str) -> argparse.ArgumentParser:
    """The options that all contestants have."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--photos", type=Path, required=True, help="folder of JPEGs, searched to any depth")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the model file's folder")
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--out", type=Path, required=True, help="empty folder for the embeddings")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu")
    return parser


def list_photos(folder: Path, suffix: str = ".jpg") -> Sequence[str]:
    return sorted(str(path) for path in folder.rglob(f"*{suffix}"))


def print_result(clocked: Clocked) -> None:
    sys.stdout.write(json.dumps(asdict(clocked)) + "\n")
