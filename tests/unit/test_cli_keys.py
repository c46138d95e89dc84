"""`pictor keys`, and the first key of `pictor init`."""

import json
import stat
from pathlib import Path

import pytest

from pipeline import wiring
from pipeline.cli.first_key import hand_out_first_key
from pipeline.errors import ArgumentError, UnknownCallerError
from pipeline.service.key_text import id_in_text
from pipeline.service.keyring import Keyring
from pipeline.settings import Settings
from tests.unit.commands import Output, pictor

pytestmark = pytest.mark.usefixtures("home")


def holder_of(text: str) -> str:
    with wiring.open_ledger(Settings.from_env()) as ledger:
        return Keyring(ledger.keys).holder_of(text).name


def test_a_key_is_printed_alone_and_once(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    assert pictor(monkeypatch, "keys", "create", "shop", "--role", "searcher", "--expires", "90d") == 0
    text = capsys.readouterr().out.strip()
    assert holder_of(text) == "shop"
    assert pictor(monkeypatch, "keys", "list") == 0
    listed = capsys.readouterr().out
    assert "shop" in listed
    assert text not in listed


def test_keys_are_listed_revoked_and_rotated(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    create = ("keys", "create", "acme", "--role", "writer", "--role", "auditor", "--tenant", "acme")
    more = ("--collection", "a*", "--bucket", "b", "--on-behalf", "--purpose", "test", "--json")
    assert pictor(monkeypatch, *create, *more) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["tenant"], made["roles"], made["collections"]) == ("acme", ["auditor", "writer"], ["a*"])
    assert made["acts_for_others"]
    assert made["justification"]["purpose"] == "test"
    assert pictor(monkeypatch, "keys", "rotate", made["id"], "--overlap", "1h") == 0
    successor = capsys.readouterr().out.strip()
    assert pictor(monkeypatch, "keys", "revoke", made["id"]) == 0
    with pytest.raises(UnknownCallerError):
        holder_of(made["secret"])
    assert holder_of(successor) == "acme"
    capsys.readouterr()
    assert pictor(monkeypatch, "keys", "list", "--json") == 0
    listed = {key["id"]: key for key in map(json.loads, capsys.readouterr().out.splitlines())}
    assert listed[made["id"]]["revoked_at"]
    assert listed[id_in_text(successor)]["replaces"] == made["id"]
    assert listed[id_in_text(successor)]["justification"] == made["justification"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "shop"),
        ("create", "shop", "--role", "king"),
        ("create", "shop", "--role", "admin", "--expires", "soon"),
        ("create", "shop", "--role", "admin", "--tenant", "A_b"),
        ("create", "shop", "--role", "searcher", "--purpose", "x" * 101),
        ("revoke", "none"),
        ("rotate", "none"),
    ],
)
def test_what_cannot_be_is_said(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    assert pictor(monkeypatch, "keys", *arguments) == 2


# The first key


def test_the_first_key_is_printed_once(capsys: Output) -> None:
    settings = Settings.from_env()
    hand_out_first_key(settings, None)
    _, text = capsys.readouterr().out.splitlines()
    assert holder_of(text) == "admin"
    hand_out_first_key(settings, None)
    again = capsys.readouterr().out
    assert "pictor_sk_" not in again
    assert "already" in again


def test_the_first_key_is_written_for_its_owner_alone(tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "admin.key"
    hand_out_first_key(Settings.from_env(), file)
    assert "pictor_sk_" not in capsys.readouterr().out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert holder_of(file.read_text().strip()) == "admin"
    text = file.read_text()
    hand_out_first_key(Settings.from_env(), tmp_path / "second.key")
    assert not (tmp_path / "second.key").exists()
    assert file.read_text() == text


def test_no_key_is_made_that_can_be_handed_to_nobody(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    for file in (there, tmp_path / "none" / "admin.key"):
        with pytest.raises(ArgumentError, match="no key was made"):
            hand_out_first_key(Settings.from_env(), file)
    assert there.read_text() == "mine"
    with wiring.open_ledger(Settings.from_env()) as ledger:
        assert ledger.keys.list_keys() == []


def test_a_pair_for_aws_clients_is_printed_once_and_its_secret_kept_nowhere(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, home: Path
) -> None:
    create = ("keys", "create", "matcher", "--role", "searcher", "--aws")
    assert pictor(monkeypatch, *create) == 2
    assert "PICTOR_REKOGNITION_KEY" in capsys.readouterr().err
    monkeypatch.setenv("PICTOR_REKOGNITION_KEY", "m" * 32)
    assert pictor(monkeypatch, *create, "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["aws_access_key_id"] == f"PKIA{made['id']}"
    assert "secret" not in made
    secret = made["aws_secret_access_key"].encode()
    assert all(secret not in path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert pictor(monkeypatch, *create) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" = ")[0] for line in lines] == ["aws_access_key_id", "aws_secret_access_key"]
    assert pictor(monkeypatch, "keys", "rotate", made["id"], "--aws", "--json") == 0
    successor = json.loads(capsys.readouterr().out)
    assert successor["replaces"] == made["id"]
    assert successor["aws_secret_access_key"] not in ("", made["aws_secret_access_key"])
