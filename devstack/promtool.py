"""promtool, which checks what Prometheus is given: its configuration, its rules, the pages it scrapes."""

import shutil

PACKAGE = "prometheus"  # Debian's; the server comes with it and is never started


def missing() -> str | None:
    """What is not installed, in words, or None."""
    return None if shutil.which("promtool") else f"promtool is not installed (Debian package {PACKAGE})"
