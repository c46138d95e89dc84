"""Roles of workers and the queues that each takes messages from."""

import pytest

from pipeline.errors import ArgumentError
from workers.broker.queues import consumed_queues, read_roles


def test_a_role_is_named_by_its_queue() -> None:
    assert read_roles(["plan", "search"]) == ["plan", "search"]


def test_the_former_name_of_a_role_is_understood_once() -> None:
    assert read_roles(["ingest"]) == ["prepare"]
    assert read_roles(["prepare", "ingest", "plan", "plan"]) == ["prepare", "plan"]


@pytest.mark.parametrize(
    ("names", "named"), [(["plan", "emded"], "emded"), ([], r"\(none\)"), (["dead"], "dead")]
)
def test_a_role_that_is_none_is_refused_with_those_that_there_are(names: list[str], named: str) -> None:
    with pytest.raises(ArgumentError, match=f"^--queues {named}: plan, prepare, embed, search are allowed$"):
        read_roles(names)


def test_who_prepares_also_does_what_the_version_before_has_left() -> None:
    assert consumed_queues(["prepare"]) == ["prepare", "ingest"]
    assert consumed_queues(["plan", "embed", "search"]) == ["plan", "embed", "search"]
