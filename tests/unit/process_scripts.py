"""Stand-ins for the interpreter that a module starts: real processes with an end of their own choosing."""

import sys
from pathlib import Path

import pytest


class Interpreter:
    """Replaces `sys.executable` by shell scripts, one for each start, the last for all further ones."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._script = folder / "interpreter"
        self._patch = monkeypatch

    def will(self, *scripts: str) -> None:
        """Args: `scripts` are lines of sh. `$1` and on are the arguments that Python would get."""
        for number, script in enumerate(scripts):
            (self._folder / f"script-{number}").write_text(script)
        self._script.write_text(f"""#!/bin/sh
cd {self._folder}
started=$(ls -d started-* 2>/dev/null | wc -l)
mkdir started-$started
last={len(scripts) - 1}
. ./script-$(( started < last ? started : last ))
""")
        self._script.chmod(0o755)
        self._patch.setattr(sys, "executable", str(self._script))

    @property
    def started(self) -> int:
        return len(list(self._folder.glob("started-*")))
