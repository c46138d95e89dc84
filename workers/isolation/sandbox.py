"""Try one batch alone, in a throw-away process: whatever it does there is its own doing.

A message that is delivered again and again may have killed its workers, or have been in flight each time that
an operator, a deployment or the kernel killed one. Only a process that holds nothing else can tell. The trial
does the work in full, pulled and embedded on the CPU: so it leaves either a finished batch or a proof, and no
"it survived, but who knows" goes round for ever. It is not a child by `multiprocessing`, which Celery's
daemonic children may not have.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from enum import StrEnum

from pipeline import wiring
from pipeline.errors import PictorError, TransientError
from pipeline.garbage import look_seldom
from pipeline.ingest.handle import Handled, handle_embed
from pipeline.logs import configure_logging
from pipeline.ports.deps import warm_models
from pipeline.settings import Settings
from pipeline.types import Verdict
from workers.identity import told_identity
from workers.metrics.metrics import metrics
from workers.process.context import open_deps

logger = logging.getLogger(__name__)

# Longer than any one service may keep us waiting before its adapter says that it is away (S3 by default: four
# tries of 30 s), so that an outage ends a trial with a verdict and not with this.
TRIAL_LIMIT_S = 240
LOADING_LIMIT_S = 300  # interpreter, torch and weights, on a busy machine


class Fate(StrEnum):
    """How a trial ended that came to no verdict."""

    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    INTERNAL_ERROR = "internal_error"  # an exception that nobody foresaw; it is in the log


def run_trial(body: bytes) -> Handled | Fate:
    """Do one batch message in a process of its own and wait for its end.

    Raises:
        TransientError: the process could not begin the work, which says nothing about the batch.
    """
    command = [sys.executable, "-m", "workers.isolation.sandbox", str(TRIAL_LIMIT_S)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        lines = _converse(process, body)
        status = process.wait()
    finally:
        process.kill()  # at its end already, unless this process is being stopped
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # bytes that could not be written to a dead process
                pipe.close()  # type: ignore[union-attr]  # both were asked for
    return _outcome(lines, status)


def _converse(process: subprocess.Popen[bytes], body: bytes) -> list[bytes]:
    assert process.stdin
    assert process.stdout
    with suppress(BrokenPipeError):  # it died; its status tells
        process.stdin.write(body + b"\n")
        process.stdin.flush()  # and left open: its end tells the trial that nobody waits for it any more
    return list(process.stdout)


def _outcome(lines: list[bytes], status: int) -> Handled | Fate:
    if not lines:
        raise TransientError(f"a process for a trial did not begin its work; it ended with {status}")
    answer = _read_answer(lines[1]) if len(lines) > 1 else None
    return answer or (Fate.TIMED_OUT if status == -signal.SIGALRM else Fate.CRASHED)


def _read_answer(line: bytes) -> Handled | Fate | None:
    """None when the process ended while it wrote."""
    with suppress(ValueError):
        match json.loads(line):
            case {"fate": fate}:
                return Fate(fate)
            case {"verdict": verdict, "error": error}:
                return Handled(verdict=Verdict(verdict), error=PictorError(error) if error else None)
    return None


def main(limit_s: int) -> None:
    """Read a message from standard input; write a line when its work begins and a line when it has ended."""
    look_seldom()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of a library must not look like an answer
    body = sys.stdin.buffer.readline()
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    signal.alarm(LOADING_LIMIT_S)  # its default action ends a process whose native code hangs, too
    settings = Settings.from_env().model_copy(update={"device": "cpu"})
    configure_logging(settings.log_level)
    deps = open_deps(settings, told_identity(), wiring.open_ledger(settings))
    warm_models(deps)
    print(json.dumps({"begun": "yes"}), file=answers, flush=True)
    signal.alarm(limit_s)
    try:
        handled = handle_embed(body, deps, wiring.limits_of(settings))
        metrics().record_work(handled)  # here, because the answer does not hold it
        answer = {"verdict": handled.verdict.value, "error": str(handled.error or "")}
    except Exception:  # the top of a process; the answer fails the one who waits
        logger.exception("trial died")
        answer = {"fate": Fate.INTERNAL_ERROR.value}
    print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)  # a thread may still be at work, and threads are waited for at an orderly end


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
