"""What can run a network on a CPU, and what of it is installed."""

import platform
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import ConfigError

AUTO = "auto"
_CPU_INFO = Path("/proc/cpuinfo")


class Backend(StrEnum):
    """The value is the name of the package, and of the extra that brings it."""

    TORCH = "torch"
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


OTHERS = (Backend.ONNXRUNTIME, Backend.OPENVINO)  # beside torch, which is always here


def is_installed(backend: Backend) -> bool:
    """Looks for the package and imports nothing."""
    return find_spec(backend.value) is not None


def check_installed(backend: Backend) -> None:
    if not is_installed(backend):
        raise ConfigError(
            f"PICTOR_BACKEND is {backend}, and it is not installed; "
            f"`pip install 'pictor[{backend}]'`, or set PICTOR_BACKEND to auto or torch"
        )


def backend_versions() -> dict[str, str]:
    """Empty text for one that is not installed."""
    return {backend.value: _version(backend.value) for backend in Backend}


def cpu_description() -> str:
    """Its model and its instructions: where they differ, another backend may be the fastest."""
    wanted = ("model name", "flags", "Features", "CPU part")
    try:
        lines = _CPU_INFO.read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(line for line in lines if line.startswith(wanted)) or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
