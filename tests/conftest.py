"""Fixtures that all tiers share."""

import os
from pathlib import Path
from typing import NoReturn

import pytest

from tests.sample_data import REPOSITORY as REPOSITORY  # for the tests of every tier
from tests.sample_data import large_sets

pytest_plugins = ["tests.services"]


def missing(what: str) -> NoReturn:
    """Skip here, fail in CI: a check that is skipped silently where it counts is no check."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; CI=true, so this is a failure")
    pytest.skip(what)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of the large sets where there are none: shipped data have tests of their own."""
    if large_sets() is not None:
        return
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("large_sets")])
    items[:] = [item for item in items if not item.get_closest_marker("large_sets")]


@pytest.fixture(scope="session")
def large_data() -> Path:
    """The folder of the large sets, for tests with the mark `large_sets`."""
    found = large_sets()
    assert found, "a test of the large sets without its mark"
    return found


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The same, for a test that has nothing else to read yet: skipped, in CI failed, where it is missing."""
    found = large_sets()
    if not found:
        missing("no test data; set PICTOR_TEST_DATA")
    assert found
    return found
