"""Commands that run in processes of their own, forked from one that has imported everything.

A command that looks at pictures takes two seconds of CPU for its imports, and some modules run thirty.
Each still has its own process, environment, output and exit code. What a command imports, and that it can be
killed, is tested with processes that are started from nothing.
"""

import atexit
import gc
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from tests.sample_data import REPOSITORY

_START_S = 120.0
_IMPORTED_ONCE = (
    "pipeline.cli.app",
    "pipeline.cli.collections_here",
    "pipeline.cli.fleet",
    "pipeline.cli.ingest_here",
    "pipeline.cli.jobs_here",
    "pipeline.cli.models",
    "pipeline.cli.search_here",
    "pipeline.cli.verify",
    "pipeline.adapters.beside.index",
    "pipeline.adapters.folder.store",
    "pipeline.adapters.ledger.migrate",
    "pipeline.adapters.ledger.sql_audit_log",
    "pipeline.adapters.ledger.sql_ledger",
    "pipeline.adapters.milvus.lite.index",
    "pipeline.adapters.models.catalogue",
    "pipeline.adapters.s3.store",
    "pipeline.embedded",
    "pipeline.image.decode",
    "pipeline.image.preprocess",
    "pipeline.wiring_audit",
    "workers.broker.connection",
    "workers.provision",
)


def run(
    arguments: Sequence[str], *, env: Mapping[str, str], cwd: str, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` of `pictor` with captured output.

    Args:
        env: all that the command has; nothing is inherited.

    Raises:
        TimeoutExpired: after `timeout_s`; the command is killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        asked = {"arguments": arguments, "env": dict(env), "cwd": cwd, "out": str(out), "err": str(err)}
        code = _ask(json.dumps(asked), timeout_s, arguments)
        texts = [path.read_text("utf-8", errors="surrogateescape") for path in (out, err)]
    return subprocess.CompletedProcess(arguments, code, *texts)


def _ask(line: str, timeout_s: float, arguments: Sequence[str]) -> int:
    server = _server()
    assert server.stdin
    assert server.stdout
    server.stdin.write(line.encode() + b"\n")
    server.stdin.flush()
    if not select.select([server.stdout], [], [], timeout_s)[0]:
        _end(server)
        raise subprocess.TimeoutExpired(arguments, timeout_s)
    return int(server.stdout.readline())


@cache
def _server() -> "subprocess.Popen[bytes]":
    """One for this process, which ends with it."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.warm_cli"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,  # Ctrl-C is for the test session
    )
    assert server.stdout
    assert select.select([server.stdout], [], [], _START_S)[0]
    assert server.stdout.readline() == b"ready\n"
    atexit.register(_end, server)
    return server


def _end(server: "subprocess.Popen[bytes]") -> None:
    """With what it runs."""
    _server.cache_clear()
    if server.poll() is None:
        os.killpg(server.pid, 9)
    server.wait()
    for pipe in (server.stdin, server.stdout):
        assert pipe
        pipe.close()


def _wait_for_order() -> Mapping[str, object]:
    """Returns in a forked process, once for each line that is asked; this one ends with its input."""
    os.write(1, b"ready\n")
    for line in iter(sys.stdin.buffer.readline, b""):
        pid = os.fork()
        if pid == 0:
            order: Mapping[str, object] = json.loads(line)
            return order
        _, status = os.waitpid(pid, 0)
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(arguments: Sequence[str], env: Mapping[str, str], cwd: str, out: str, err: str) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    flags = os.O_WRONLY | os.O_CREAT
    for target, opened in enumerate(
        (os.open(os.devnull, os.O_RDONLY), os.open(out, flags), os.open(err, flags))
    ):
        os.dup2(opened, target)
    sys.argv = ["pictor", *arguments]


def end_with(main: Callable[[], object]) -> NoReturn:
    """As the interpreter ends, but it does not take apart what it has imported.

    That would copy every page that the process shares with the one that it was forked from: half of the
    time of a short command.
    """
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - the top of a process
        code = 1
        sys.excepthook(*sys.exc_info())
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as at every end
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for name in _IMPORTED_ONCE:
        import_module(name)
    gc.collect()
    gc.freeze()  # a forked process looks at none of it again, also when it ends
    _become(**_wait_for_order())  # type: ignore[arg-type]
    end_with(import_module("pipeline.cli").main)
