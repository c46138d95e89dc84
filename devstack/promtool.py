"""promtool, which checks the configuration, the rules and the scraped pages of Prometheus."""

import shutil

PACKAGE = "prometheus"  # Debian's; the server comes with it and is never started


def missing() -> str | None:
    """A message if promtool is not installed, else None."""
    return None if shutil.which("promtool") else f"promtool is not installed (Debian package {PACKAGE})"
