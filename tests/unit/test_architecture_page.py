"""docs/background/architecture.md names every room and the import rule as they are."""

import re
import tomllib

from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "background" / "architecture.md").read_text(encoding="utf-8")


def test_the_import_rule_of_the_page_is_the_one_that_is_checked() -> None:
    configuration = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    rules = {rule["name"]: rule for rule in configuration["tool"]["importlinter"]["contracts"]}
    layers = rules["Imports point one way"]["layers"]
    assert " > ".join(f"`{layer}`" for layer in layers) in " ".join(PAGE.split())


def test_every_room_is_in_the_table() -> None:
    rooms = {path.stem for path in (REPOSITORY / "pipeline").iterdir() if _is_room(path.name)}
    rooms |= {
        path.stem for path in (REPOSITORY / "workers").iterdir() if path.is_dir() and _is_room(path.name)
    }
    table = "\n".join(line for line in PAGE.splitlines() if line.startswith("|"))
    named = {name.removeprefix("pipeline/").rstrip("/") for name in re.findall(r"`([\w/]+)`", table)}
    faces = {"decode", "selection", "demo"}  # names for scripts outside, and the demo
    assert rooms - faces <= named


def _is_room(name: str) -> bool:
    return not name.startswith(("_", ".", "py.typed"))
