"""Counts of several processes on one page, whatever becomes of the processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.unit.fakes import identity_of
from workers.metrics.files import MetricFiles

CHILD = """
import sys
from tests.unit.fakes import SPEC
from workers.metrics.metrics import metrics
metrics().record_warm(SPEC, "cpu")
for _ in range(int(sys.argv[1])):
    metrics().record_search(0.02, failed=False)
print("recorded", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """A worker's folder."""
    (tmp_path / "metrics").mkdir()
    return tmp_path


@pytest.fixture
def files(worker: Path) -> MetricFiles:
    return MetricFiles(worker / "metrics", worker)


@contextmanager
def child(worker: Path, searches: int, belongs_to: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has counted so many searches, and waits to be killed."""
    env = os.environ | identity_of(belongs_to or worker).to_env()
    env["PROMETHEUS_MULTIPROC_DIR"] = str(worker / "metrics")
    command = [sys.executable, "-c", CHILD, str(searches)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"recorded\n"
        try:
            yield process
        finally:
            process.kill()


def samples(files: MetricFiles) -> dict[str, float]:
    return {sample.name: sample.value for family in files.collect() for sample in family.samples}


def test_children_add_up(worker: Path, files: MetricFiles) -> None:
    with child(worker, 2), child(worker, 3):
        found = samples(files)
    assert found["pictor_search_seconds_count"] == 5
    assert found["pictor_worker_children"] == 2


def test_a_killed_child_is_missed_and_its_counts_stay(worker: Path, files: MetricFiles) -> None:
    with child(worker, 2):
        with child(worker, 3) as other:
            other.kill()
            other.wait()
            found = samples(files)
            assert found["pictor_search_seconds_count"] == 5
            assert found["pictor_search_seconds_sum"] == pytest.approx(0.1)
            assert found["pictor_worker_children"] == 1
        assert samples(files) == found  # counted once, however often they are read


def test_a_child_that_nobody_has_waited_for_yet_is_dead_all_the_same(
    worker: Path, files: MetricFiles
) -> None:
    with child(worker, 3) as zombie:
        zombie.kill()
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
        found = samples(files)
        assert found["pictor_search_seconds_count"] == 3
        assert "pictor_worker_children" not in found


def test_a_process_that_has_got_a_dead_childs_number_does_not_keep_it_alive(
    worker: Path, files: MetricFiles
) -> None:
    with child(worker, 3, belongs_to=worker / "of-another-worker"):
        assert "pictor_worker_children" not in samples(files)


def test_however_many_die_their_files_are_few(worker: Path, files: MetricFiles) -> None:
    for number in range(1, 4):
        with child(worker, 1) as one:
            one.kill()
        assert samples(files)["pictor_search_seconds_count"] == number
        assert sorted(path.name for path in (worker / "metrics").iterdir()) == [
            "counter_0.db",
            "histogram_0.db",
        ]


def test_a_file_that_was_only_just_made_harms_no_answer(worker: Path, files: MetricFiles) -> None:
    with child(worker, 2) as process:
        (worker / "metrics" / "counter_1.db").touch()  # of a process that is not ours
        (worker / "metrics" / f"gauge_livemin_{process.pid}.db").touch()
        assert samples(files)["pictor_search_seconds_count"] == 2
