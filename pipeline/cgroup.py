"""The share of the machine that this process may use: its cores and its memory, by cgroup 1 or 2.

A container sees the cores and the memory of its host. Only its control group says how much of both it gets.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")  # lines "0::/path" (version 2) or "4:memory:/path" (version 1)
MEMORY_FILES = ("memory.max", "memory.high", "memory.limit_in_bytes")  # over "high", a process is only slowed


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    cores: int
    memory_bytes: int


def whole_machine() -> Share:
    """The cores that this process may run on, which a cpuset limits too, and all memory."""
    return Share(
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )


def read_share(*, mount: Path = MOUNT, membership: Path = MEMBERSHIP, machine: Share | None = None) -> Share:
    """The part of the machine that the control groups of this process leave to it. 1.5 CPUs count as 2 cores.

    Args:
        mount: where control groups are mounted.
        membership: names the groups of this process.
        machine: default, this one.
    """
    machine = machine or whole_machine()
    folders = list(_groups(mount, membership))
    quotas = [quota for folder in folders for quota in _cpu_quotas(folder)]
    limits = [limit for folder in folders for limit in _memory_limits(folder)]
    return Share(
        cores=min([machine.cores, *quotas]),
        memory_bytes=min([machine.memory_bytes, *limits]),
    )


def _groups(mount: Path, membership: Path) -> Iterator[Path]:
    """The folders of all groups that this process is in, with those above them, whose limits hold as well.

    A container may see its own group as the root of the mount, while the path is that of the host. So folders
    that are not there are no error.
    """
    yield mount
    for line in _text(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        names = PurePosixPath(path.lstrip("/")).parts
        depth = 0 if ".." in names else len(names)  # "..": a group that this process cannot see
        for mounted in {controllers, *controllers.split(",")}:  # "cpu,cpuacct" is mounted under either name
            for length in range(depth + 1):
                yield (mount / mounted).joinpath(*names[:length])


def _cpu_quotas(folder: Path) -> Iterator[int]:
    """In cores. Both versions write a quota and a period, in microseconds, and "max" or -1 for no limit."""
    version_2 = _text(folder / "cpu.max").split()
    version_1 = [_text(folder / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    for pair in (version_2, version_1):
        numbers = [int(word) for word in pair if word.strip().isdecimal()]
        if len(numbers) == 2 and all(numbers):
            yield math.ceil(numbers[0] / numbers[1])


def _memory_limits(folder: Path) -> Iterator[int]:
    for name in MEMORY_FILES:
        if (word := _text(folder / name).strip()).isdecimal():
            yield int(word)


def _text(file: Path) -> str:
    """Empty when there is no such file, as for a controller that is off."""
    try:
        return file.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
