"""Real servers for a part of the benchmark, and a place of its own on them."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from benchmarks.part import REPOSITORY, tell
from deploy.stack.milvus import VERSION as MILVUS_VERSION
from deploy.stack.stack import SERVICES, Stack
from tests.chaos.system import servers_of
from tests.fleet import own_place
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server

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
            [sys.executable, "-m", "deploy.stack", "guard", "--dir", str(stack.directory)],
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


@contextmanager
def place_on(stack: Stack, folder: Path, **more: str) -> Iterator[dict[str, str]]:
    """The environment of a system of its own: virtual host, database, buckets, collections.

    Args:
        folder: for its home and its workers' logs; made if need be.
        more: further variables of the environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        servers_of(stack) as servers,
        own_place(
            cast("RabbitMQServer", servers["rabbitmq"]),
            cast("S3Server", servers["s3"]),
            cast("MilvusServer", servers["milvus"]),
            cast("PostgresServer", servers["postgres"]),
            folder,
            **more,
        ) as env,
    ):
        yield env


def resident_bytes_of(pids: Sequence[int]) -> int:
    """Memory that is in use by processes, their shared libraries counted for each."""
    return sum(_resident_bytes(pid) for pid in pids)


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
