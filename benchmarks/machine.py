"""Which machine and which versions a result comes from."""

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.figures import Machine

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "pymilvus", "milvus-lite", "celery", "obstore")
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})  # of /proc/cpuinfo; without them it is emulated


def describe_machine(more: Mapping[str, str] | None = None) -> Machine:
    """Args: `more` are versions of what took part besides this interpreter's packages."""
    cpu = _cpu_fields()
    return Machine(
        cpu=cpu.get("model name", platform.processor() or "unknown"),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpu=_gpu_name(),
        native_bfloat16=has_native_bfloat16(),
        versions={"python": platform.python_version()} | _package_versions() | dict(more or {}),
    )


def has_native_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself."""
    return not BFLOAT16_FLAGS.isdisjoint(_cpu_fields().get("flags", "").split())


def _cpu_fields() -> dict[str, str]:
    """Of the first core in /proc/cpuinfo; empty on a system without it."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _gpu_name() -> str:
    try:
        answer = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],  # noqa: S607 - where the driver put it
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip().splitlines()[0] if answer.stdout.strip() else ""


def _package_versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # a GPU machine may have no Milvus
    return found
