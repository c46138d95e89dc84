"""Fixtures that all tiers share."""

import os
from pathlib import Path
from typing import NoReturn

import pytest

pytest_plugins = ["tests.services"]

REPOSITORY = Path(__file__).resolve().parent.parent


def missing(what: str) -> NoReturn:
    """Skip here, fail in CI: a check that is skipped silently where it counts is no check."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; CI=true, so this is a failure")
    pytest.skip(what)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Real photographs, labelled sets, hostile files and weights. They are not part of the project."""
    path = Path(os.environ.get("PICTOR_TEST_DATA", REPOSITORY / ".." / "shared" / "data")).resolve()
    if not path.is_dir():
        missing(f"no test data at {path}; set PICTOR_TEST_DATA")
    return path
