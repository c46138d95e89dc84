"""The files in which the processes of one worker keep their metrics, and how those of the dead end.

prometheus_client gives each process a file per kind of metric, `counter_<pid>.db`, and reads all of them for
each answer. Files of the dead would pile up: a batch that kills its process again and again leaves a dozen.
So the counts of the dead are added to one file, `counter_0.db`, and no count ever goes back.
"""

import os
import threading
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from workers.identity import folder_of_worker

_OF_THE_DEAD = 0  # no process has this id


class MetricFiles:
    """A collector for a registry. Safe to ask from several threads."""

    def __init__(self, folder: Path, worker_folder: Path) -> None:
        self._folder = folder
        self._worker_folder = worker_folder
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            for path in sorted(self._folder.glob("*.db")):
                if not self._is_alive(_pid_of(path)):
                    self._bury(path)
            # A process that was just begun, or was killed at just that moment, has an empty file.
            files = [str(path) for path in self._folder.glob("*.db") if path.stat().st_size]
            return list(MultiProcessCollector.merge(files))

    def _is_alive(self, pid: int) -> bool:
        """Whether the process is one of this worker's: a child, or a trial of a child. A zombie is dead."""
        return pid in (_OF_THE_DEAD, os.getpid()) or folder_of_worker(pid) == self._worker_folder

    def _bury(self, path: Path) -> None:
        """Crashing in between would count twice, but the folder does not outlive this process."""
        kind = path.name.split("_", 1)[0]
        if kind != "gauge" and path.stat().st_size:
            total = MmapedDict(str(self._folder / f"{kind}_{_OF_THE_DEAD}.db"))
            for key, value, _timestamp, _place in MmapedDict.read_all_values_from_file(str(path)):
                total.write_value(key, total.read_value(key)[0] + value, 0.0)
            total.close()
        path.unlink()


def _pid_of(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])
