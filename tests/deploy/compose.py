"""deploy/compose.yaml as Docker Compose reads it: anchors merged, variables put in."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.conftest import REPOSITORY

FILE = REPOSITORY / "deploy" / "compose.yaml"
_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Z][A-Z0-9_]*):-(?P<default>[^}]*)\})")

Service = dict[str, Any]


def load(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Only `${NAME:-default}` and `$$` are understood; anything else with a dollar stays, and is a fault."""
    loaded = _filled(yaml.safe_load(FILE.read_text(encoding="utf-8")), variables or {})
    assert isinstance(loaded, dict)
    return loaded


def _filled(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, str):
        return _VARIABLE.sub(
            lambda match: "$" if match["dollar"] else variables.get(match["name"]) or match["default"], node
        )
    if isinstance(node, dict):
        return {name: _filled(value, variables) for name, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, variables) for value in node]
    return node


def is_pictor(service: Service) -> bool:
    return str(service["image"]).startswith("pictor:")


def seconds(text: str) -> int:
    """Of a duration in one unit: 90s, 12m."""
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]
