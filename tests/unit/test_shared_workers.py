"""Which workers make searches wait for batches."""

import pytest

from workers.worker import searches_wait


@pytest.mark.parametrize(
    "roles", [("embed", "search"), ("prepare", "search"), ("prepare", "embed", "search")]
)
def test_a_search_waits_where_batches_are_worked_on(roles: tuple[str, ...]) -> None:
    assert searches_wait(roles)


@pytest.mark.parametrize("roles", [("search",), ("plan", "search"), ("embed",), ("prepare", "embed")])
def test_it_does_not_where_there_are_none(roles: tuple[str, ...]) -> None:
    assert not searches_wait(roles)
