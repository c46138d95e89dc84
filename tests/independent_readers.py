"""Readers and writers of image files that share no code with Pillow, to compare Pictor with.

A development environment from before they were added skips the tests that need them. CI does not.
"""

import importlib
import os
from typing import Any

import pytest


def _need(name: str) -> Any:
    if os.environ.get("CI") == "true":
        return importlib.import_module(name)
    return pytest.importorskip(name, reason="run pip install -c constraints.txt -e '.[dev]'")


imagecodecs = _need("imagecodecs")
tifffile = _need("tifffile")
