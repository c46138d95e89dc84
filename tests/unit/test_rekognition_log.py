"""What the Rekognition endpoint enters in the log is found out like all else when somebody changes it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.types import KeyRole
from tests.unit.aws_endpoint import EXAMPLES, STATES, Endpoint
from tests.unit.test_audit_tamper import World


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of every operation, of refused searches, and of somebody who may not search."""
    world = World(folder=tmp_path_factory.mktemp("log"))
    with world.open() as log:
        endpoint = Endpoint(tmp_path_factory.mktemp("endpoint"), log)
        for operation, example in EXAMPLES.items():
            endpoint.answer(operation, KeyRole.ADMIN, STATES["allows"])
            if example.threshold:
                endpoint.answer(operation, KeyRole.ADMIN, STATES["below the floor"])
                endpoint.answer(operation, KeyRole.AUDITOR, STATES["allows"])
        world.publish(log)
        endpoint.close()
    return world.folder


def entries_of(folder: Path) -> list[dict[str, Any]]:
    with World(folder=folder).open() as log:
        return [json.loads(entry.record or b"") for entry in log.entries()]


def test_every_change_and_every_search_is_an_entry(made: Path) -> None:
    found = {(record["kind"], record["decision"]["reason_code"]) for record in entries_of(made)}
    assert found >= {
        ("search", ""),
        ("search", "threshold_below_floor"),
        ("search", "access_denied"),
        ("job", ""),
        ("deletion", ""),
        ("policy_change", ""),
    }
    assert World(folder=made).verify().faults == ()


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("does not match", "UPDATE audit_entry SET record = replace(record, '\"admin', '\"nobody') WHERE {}"),
        ("another actor", "UPDATE audit_entry SET actor = 'nobody' WHERE {}"),
        ("is missing", "DELETE FROM audit_entry WHERE {}"),
    ],
)
def test_whatever_is_done_to_an_entry_is_named(made: Path, tmp_path: Path, what: str, statement: str) -> None:
    """One of each kind and reason."""
    kinds = {
        (record["kind"], record["decision"]["reason_code"]): index
        for index, record in enumerate(entries_of(made))
        if record["actor"]["id"].startswith("admin")
    }
    assert len(kinds) >= 5
    for index in kinds.values():
        copy = World(folder=tmp_path / f"{index}")
        shutil.copytree(made, copy.folder)
        copy.sql(statement.format(f"entry_index = {index}"))
        fault = copy.first_fault()
        assert (fault.index, what in fault.text) == (index, True), fault
