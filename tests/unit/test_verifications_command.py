"""`pictor verifications` over the ledger of a home."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import wiring_audit
from pipeline.settings import Settings
from tests.unit.commands import Output, pictor
from tests.verifications import search_to_verify

Command = Callable[..., int]


@pytest.fixture
def command(home: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    assert home
    return lambda *words: pictor(monkeypatch, *words)


@pytest.fixture
def match(home: Path) -> str:
    """A match in the ledger of the home, of somebody else's search."""
    assert home
    search = search_to_verify("ann (k1)")
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        log.append([search])
    return f"{search.record_id}-1"


def shown(match: str, command: Command, capsys: Output) -> dict[str, Any]:
    assert command("verifications", "show", match) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_match_is_listed_shown_and_decided_here(match: str, command: Command, capsys: Output) -> None:
    assert command("verifications", "list", "--json") == 0
    [listed] = capsys.readouterr().out.splitlines()
    assert (json.loads(listed)["id"], json.loads(listed)["state"]) == (match, "to_verify")
    assert command("verifications", "decide", match, "confirm", "--reason", "the same scar") == 0
    assert f"match {match} is in_verification" in capsys.readouterr().err
    assert shown(match, command, capsys)["own"]
    roe = ("--on-behalf-of", "Insp. Roe")
    assert command("verifications", "decide", match, "confirm", "--reason", "the same ear", *roe) == 0
    assert "is confirmed and closed" in capsys.readouterr().err
    assert len(shown(match, command, capsys)["decisions"]) == 2
    assert command("verifications", "list") == 0
    assert match not in capsys.readouterr().out
    assert command("audit", "verify") == 0
    assert command("verifications", "rebuild") == 0
    capsys.readouterr()
    assert shown(match, command, capsys)["state"] == "confirmed"


def test_what_cannot_be_decided_is_said(match: str, command: Command, capsys: Output) -> None:
    ann = ("--on-behalf-of", "Ann")
    assert command("verifications", "decide", match, "confirm", "--reason", "r", *ann) != 0
    assert "'Ann' made this search" in capsys.readouterr().err
    assert command("verifications", "decide", match, "confirm", "--reason", " ") != 0
    assert "reason: 1 to 1000 printable characters" in capsys.readouterr().err


def test_the_sweep_says_how_many(match: str, command: Command, capsys: Output) -> None:
    assert match
    assert command("verifications", "sweep", "--older-than", "30d") == 0
    assert "0 pictures erased" in capsys.readouterr().err
