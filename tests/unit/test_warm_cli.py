"""A forked command ends as the interpreter ends: its code, its output, what it registered, its threads."""

import subprocess
import sys

import pytest

from tests.sample_data import REPOSITORY

PROGRAMS = {
    "returns": "print('out')",
    "a code": "sys.exit(3)",
    "no code": "sys.exit(None)",
    "words": "sys.exit('why')",
    "another object": "sys.exit(['why'])",
    "an exception": "print('out'); {}['key']",
    "an atexit function": "atexit.register(print, 'at exit'); print('out')",
    "a thread": "threading.Thread(target=lambda: (time.sleep(0), print('later'))).start(); sys.exit(2)",
}
HEAD = "import atexit, sys, threading, time\n"
FORKED = "from tests.warm_cli import end_with\ndef main():\n    {}\nend_with(main)\n"


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_it_ends_as_the_interpreter_ends(program: str) -> None:
    usual, forked = (run(HEAD + text) for text in (program, FORKED.format(program)))
    assert (forked.returncode, forked.stdout) == (usual.returncode, usual.stdout)
    assert forked.stderr.splitlines()[-1:] == usual.stderr.splitlines()[-1:]


def run(program: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
