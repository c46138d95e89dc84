"""Fixtures that all tiers share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import settings

from tests.sample_data import REPOSITORY as REPOSITORY  # for the tests of every tier
from tests.sample_data import large_sets
from tests.side_by_side import end_run, longest_first, make_scheduler

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import WorkerController

pytest_plugins = ["tests.services"]

settings.register_profile("tests", deadline=None)  # how long an example takes is said by the machine's load
settings.load_profile("tests")


def missing(what: str) -> NoReturn:
    """Skip here, fail in CI: a check that is skipped silently where it counts is no check."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; CI=true, so this is a failure")
    pytest.skip(what)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "LoadScopeScheduling":
    return make_scheduler(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: "WorkerController", error: object | None) -> None:
    """Args: `error` is None for a process that ends as it should."""
    if error is not None:
        end_run(node.config.pluginmanager.getplugin("dsession"), node)


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes are named by their length: compressed ones hold the time, and processes must agree on names."""
    return f"{argname}-{len(val)}-bytes" if isinstance(val, bytes) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of the large sets where there are none: shipped data have tests of their own."""
    if hasattr(config, "workerinput"):  # one of several processes
        items[:] = longest_first(items)
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
