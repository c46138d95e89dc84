"""Real servers for a part of the benchmark."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.part import REPOSITORY, tell
from devstack.milvus import VERSION as MILVUS_VERSION
from devstack.stack import SERVICES, Stack

VERSIONS = {"milvus server": MILVUS_VERSION}


@contextmanager
def running_stack(directory: Path | None) -> Iterator[Stack]:
    """The stack of a directory, left as it is; or one of our own, gone afterwards, even if we are killed."""
    if directory is not None:
        yield Stack(directory)
        return
    with tempfile.TemporaryDirectory(prefix="bench-stack-") as folder:
        stack = Stack(Path(folder) / "stack")
        guard = subprocess.Popen(
            [sys.executable, "-m", "devstack", "guard", "--dir", str(stack.directory)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,  # its end is closed by the kernel when this process ends in whatever way
            start_new_session=True,  # Ctrl-C is for us; the guard acts when we have ended
        )
        try:
            stack.up(SERVICES, tell=tell)
            yield stack
        finally:
            stack.down()
            assert guard.stdin
            guard.stdin.close()
            guard.wait(timeout=60)


def resident_bytes_of(pids: Sequence[int]) -> int:
    """Memory that is in use by processes, their shared libraries counted for each."""
    return sum(_resident_bytes(pid) for pid in pids)


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
