"""`deploy/make_secrets.py` run again, by a later version."""

import json
from pathlib import Path

from deploy.make_secrets import BROKER_RIGHTS, DEFINITIONS, broker_permissions, write_secrets


def test_a_second_run_writes_nothing(tmp_path: Path) -> None:
    write_secrets(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert write_secrets(tmp_path) == []
    assert {path: path.read_bytes() for path in before} == before


def test_the_users_of_a_later_version_are_added_and_nobody_elses_are_touched(tmp_path: Path) -> None:
    write_secrets(tmp_path)
    passwords = json.loads((tmp_path / "passwords.json").read_text())
    of_before = {name: text for name, text in passwords.items() if not name.startswith("broker_")}
    (tmp_path / "passwords.json").write_text(json.dumps(of_before))
    definitions = json.loads((tmp_path / DEFINITIONS).read_text())
    ours = {"name": "pictor", "password_hash": "changed-by-hand"}
    definitions |= {"users": [ours], "permissions": [], "queues": [{"name": "of-somebody"}]}
    (tmp_path / DEFINITIONS).write_text(json.dumps(definitions))

    assert write_secrets(tmp_path) == [tmp_path / DEFINITIONS]
    later = json.loads((tmp_path / DEFINITIONS).read_text())
    assert later["users"][0] == ours
    assert {user["name"] for user in later["users"]} == {*BROKER_RIGHTS, "pictor", "monitor", "admin"}
    assert {given["user"] for given in later["permissions"]} >= {*BROKER_RIGHTS}
    assert later["queues"] == definitions["queues"]
    kept = json.loads((tmp_path / "passwords.json").read_text())
    assert kept | of_before == kept


def test_the_rights_of_several_roles_are_those_of_each() -> None:
    both = broker_permissions("plan", "search")
    assert both["read"].startswith("^(plan|")
    assert "|search" in both["read"]
    assert broker_permissions("submit")["write"] == "^(plan|search)$"


def test_the_service_may_only_submit() -> None:
    assert broker_permissions("api") == {"configure": "^$", "write": "^(plan)$", "read": "^$"}
