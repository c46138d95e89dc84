"""docs/security.md: each limit is the one that holds."""

import importlib
import re

import pytest

from pipeline.settings import Settings
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([^|]+) \| ([\d.,]+)( [KMG]iB)?[^|]*\| `([\w.]+)` \|$", PAGE, re.MULTILINE)
UNITS = {"": 1, " KiB": 2**10, " MiB": 2**20, " GiB": 2**30}


@pytest.mark.parametrize(("limit", "number", "unit", "place"), ROWS, ids=[row[0] for row in ROWS])
def test_a_limit_of_the_page_is_the_one_that_holds(limit: str, number: str, unit: str, place: str) -> None:
    assert float(number.replace(",", "")) * UNITS[unit] == value_of(place), limit


def value_of(place: str) -> float:
    if place.startswith("PICTOR_"):
        return float(Settings.model_fields[place.removeprefix("PICTOR_").lower()].default)
    module, _, name = place.rpartition(".")
    return float(getattr(importlib.import_module(module), name))


def test_the_table_is_read() -> None:
    assert len(ROWS) >= 25


def test_each_setting_that_bounds_an_image_is_there() -> None:
    bounds = {name for name in Settings.model_fields if re.match(r"max_|min_|decode_(budget|deadline)", name)}
    named = {place.removeprefix("PICTOR_").lower() for *_, place in ROWS}
    assert bounds <= named
