"""The command line, run in this process."""

import sys

import pytest

from pipeline.cli import main

Output = pytest.CaptureFixture[str]


def pictor(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process. Returns the exit code."""
    monkeypatch.setattr(sys, "argv", ["pictor", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code if isinstance(ended.value.code, int) else 0
