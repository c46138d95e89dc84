"""What a command has imported when it ends."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import atexit, sys
from pipeline.cli import main
known = ["torch", "torchvision", "pymilvus", "milvus_lite", "grpc", "pyarrow", "faiss", "PIL"]
known += ["minio", "obstore", "celery", "sqlalchemy", "opentelemetry"]
atexit.register(lambda: print("loaded:", *(name for name in known if name in sys.modules), file=sys.stderr))
main()
"""


def loaded_packages(home: Path, *arguments: str, before: str = "") -> set[str]:
    """Run `pictor` with these arguments and name the heavy packages that it needed.

    Args:
        before: a line of Python that runs first.
    """
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n{PROGRAM}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PICTOR_HOME": str(home), "HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr
    *_, loaded = done.stderr.splitlines()
    return set(loaded.removeprefix("loaded:").split())
