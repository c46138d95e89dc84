"""A running `pictor serve`, and the search by stored id over HTTP, with connections that stay open."""

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.clients import Ask
from benchmarks.processes import clean_environment
from benchmarks.search_ways import K
from benchmarks.servers import resident_bytes_of

WAIT_S, LOOK_S, IDLE_S = 120.0, 0.5, 0.05  # it is warm when it uses less of a core than 10 %
HEADERS = {"content-type": "application/json"}
TOO_BUSY = 429


class ServiceError(RuntimeError):
    """The service did not come up, or an answer is none. The message holds what it said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningService:
    url: str
    pid: int

    def cpu_s(self) -> float:
        return cpu_seconds_of(self.pid)

    def resident_bytes(self) -> int:
        return resident_bytes_of([self.pid])


@contextmanager
def running_service(env: Mapping[str, str], folder: Path, *options: str) -> Iterator[RunningService]:
    """`pictor serve` on a free port, warm. Args: `folder` holds what it says."""
    said = folder / "serve.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [*_dies_with_us(), sys.executable, "-m", "pipeline.cli", "serve", "--port", "0", *options],
            env=clean_environment(env),
            stderr=log,
        )
    try:
        url = _wait_for_url(process, said)
        _wait_until_idle(process.pid)
        yield RunningService(url=url, pid=process.pid)
    finally:
        process.terminate()
        process.wait(60)


def http_search(url: str, collection: str, ids: Sequence[str]) -> Ask:
    """The n-th question is about the n-th id. Each thread keeps a connection."""
    ask = asker_of(url, collection)

    def search(number: int) -> None:
        status, answer = ask(ids[number % len(ids)])
        if status != http.HTTPStatus.OK or len(json.loads(answer)["answers"][0]["hits"]) != K:
            raise ServiceError(f"answer {status}: {answer[:300]!r}")

    return search


def asker_of(url: str, collection: str) -> Callable[[str], tuple[int, bytes]]:
    """Asks about a stored id. Returns the status and the body of the answer."""
    where, mine = urlsplit(url), threading.local()
    path = f"/v1/collections/{collection}/search"

    def ask(id_: str) -> tuple[int, bytes]:
        if not hasattr(mine, "connection"):
            mine.connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=WAIT_S)
        mine.connection.request(
            "POST", path, body=json.dumps({"query": {"id": id_}, "k": K}), headers=HEADERS
        )
        answer = mine.connection.getresponse()
        return answer.status, answer.read()

    return ask


def cpu_seconds_of(pid: int) -> float:
    """Of all threads of a process, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _dies_with_us() -> list[str]:
    return ["setpriv", "--pdeathsig", "KILL"]


def _wait_for_url(process: "subprocess.Popen[bytes]", said: Path) -> str:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"http://[\w.:]+", said.read_text(encoding="utf-8")):
            return found[0]
        time.sleep(LOOK_S)
    raise ServiceError(f"the service did not come up: {said.read_text(encoding='utf-8')[-2000:]}")


def _wait_until_idle(pid: int) -> None:
    deadline, before = time.monotonic() + WAIT_S, -1.0
    while time.monotonic() < deadline:
        now = cpu_seconds_of(pid)
        if now - before < IDLE_S:
            return
        before = now
        time.sleep(LOOK_S)
