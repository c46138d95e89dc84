"""A test that kills its process ends `make test` at once, with its name. It must not wait for ever."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

LIMIT_S = 60.0
HOOKS = "from tests.conftest import pytest_testnodedown, pytest_xdist_make_scheduler"
TESTS = {
    "test_dies.py": "import os\n\ndef test_ok(): pass\n\ndef test_dies(): os.kill(os.getpid(), 9)\n",
    "test_stays.py": f"import time\n\ndef test_sleeps(): time.sleep({2 * LIMIT_S})\n",
}


def test_a_process_that_dies_ends_the_run_and_its_test_is_named(tmp_path: Path) -> None:
    for name, text in {"conftest.py": HOOKS, **TESTS}.items():
        (tmp_path / name).write_text(text)
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            "2",
            "-p",
            "no:cacheprovider",
            f"--rootdir={tmp_path}",
            tmp_path,
        ],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout
    assert "has died in test_dies.py::test_dies" in ended.stdout
