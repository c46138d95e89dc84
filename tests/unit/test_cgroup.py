"""Control groups as Docker, Kubernetes and systemd make them, written into a folder."""

import os
from pathlib import Path

import pytest

from pipeline.cgroup import Share, read_share, whole_machine

GIB = 2**30
HOST = Share(cores=32, memory_bytes=256 * GIB)


class Host:
    """A pretended machine, with its control groups below `mount`."""

    def __init__(self, folder: Path) -> None:
        self.mount = folder / "cgroup"
        self.membership = folder / "membership"
        self.mount.mkdir()

    def write(self, **files: str) -> None:
        """Args: `files` by path below the mount, with `__` for a slash and `_dot_` for a dot."""
        for name, text in files.items():
            file = self.mount / name.replace("__", "/").replace("_dot_", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")

    def join(self, *lines: str) -> None:
        self.membership.write_text("".join(f"{line}\n" for line in lines))

    def share(self) -> Share:
        return read_share(mount=self.mount, membership=self.membership, machine=HOST)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_without_control_groups_it_is_the_machine(host: Host, tmp_path: Path) -> None:
    assert host.share() == HOST
    here = read_share(mount=tmp_path / "none", membership=tmp_path / "none")
    assert here == whole_machine()
    assert here.cores == len(os.sched_getaffinity(0))
    assert here.memory_bytes > 2**28


def test_a_container_of_version_2_sees_its_own_group_as_the_root(host: Host) -> None:
    host.join("0::/")
    host.write(memory_dot_max=str(GIB), memory_dot_high="max", cpu_dot_max="150000 100000")
    assert host.share() == Share(cores=2, memory_bytes=GIB)


def test_a_container_of_version_1_sees_its_own_group_and_the_path_of_the_host(host: Host) -> None:
    host.join("9:memory:/docker/f0f0", "5:cpu,cpuacct:/docker/f0f0", "0::/docker/f0f0")
    host.write(
        memory__memory_dot_limit_in_bytes=str(3 * GIB),
        cpu__cpu_dot_cfs_quota_us="400000",
        cpu__cpu_dot_cfs_period_us="100000",
    )
    assert host.share() == Share(cores=4, memory_bytes=3 * GIB)


@pytest.mark.parametrize("controllers", ["cpu,cpuacct", "cpuacct,cpu", "cpu"])
@pytest.mark.parametrize("mounted", ["cpu", "cpu,cpuacct"])
def test_controllers_that_are_mounted_together_are_found(host: Host, controllers: str, mounted: str) -> None:
    if mounted not in {controllers, *controllers.split(",")}:
        mounted = "cpu"  # the link that every distribution has
    host.join(f"5:{controllers}:/job")
    host.write(**{f"{mounted}__job__cpu_dot_cfs_quota_us": "50000"})
    host.write(**{f"{mounted}__job__cpu_dot_cfs_period_us": "100000"})
    assert host.share().cores == 1


def test_a_limit_of_a_group_above_holds_as_well(host: Host) -> None:
    host.join("0::/kubepods.slice/pod.slice/container")
    host.write(
        kubepods_dot_slice__pod_dot_slice__memory_dot_max=str(2 * GIB),
        kubepods_dot_slice__pod_dot_slice__container__memory_dot_max=str(6 * GIB),
        kubepods_dot_slice__cpu_dot_max="800000 100000",
        kubepods_dot_slice__pod_dot_slice__container__cpu_dot_max="max 100000",
    )
    assert host.share() == Share(cores=8, memory_bytes=2 * GIB)


def test_above_its_high_mark_a_process_is_slowed_so_that_is_the_limit(host: Host) -> None:
    host.join("0::/")
    host.write(memory_dot_max=str(4 * GIB), memory_dot_high=str(3 * GIB))
    assert host.share().memory_bytes == 3 * GIB


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("50000 100000", 1), ("100000 100000", 1), ("max 100000", 32), ("", 32), ("9 0", 32), ("-1 100000", 32)],
)
def test_a_limit_that_is_none_or_makes_no_sense_changes_nothing(host: Host, quota: str, cores: int) -> None:
    host.join("0::/")
    host.write(cpu_dot_max=quota, memory_dot_max="max")
    assert host.share() == Share(cores=cores, memory_bytes=HOST.memory_bytes)


def test_version_1_writes_no_limit_as_a_number_beyond_all_memory(host: Host) -> None:
    host.join("9:memory:/")
    host.write(memory__memory_dot_limit_in_bytes="9223372036854771712", cpu__cpu_dot_cfs_quota_us="-1")
    assert host.share() == HOST


def test_a_limit_above_the_cores_that_there_are_changes_nothing(host: Host) -> None:
    host.write(cpu_dot_max="99900000 100000")
    assert host.share().cores == HOST.cores


def test_a_group_outside_of_the_own_namespace_is_not_looked_for(host: Host, tmp_path: Path) -> None:
    host.join("0::/../../secret")
    (tmp_path / "memory.max").write_text("1")
    host.write(memory_dot_max=str(GIB))
    assert host.share().memory_bytes == GIB
