"""What the keys of a model file may hold, and the words for what they may not."""

import math
import re
from collections.abc import Callable, Mapping, Sequence

from pipeline.errors import ModelError

Rule = tuple[str, Callable[[object], bool]]  # the allowed values in words and as a test
Rules = Mapping[str, Rule]  # by key


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_triple(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_number(part) for part in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 1000 and value.isprintable()


NAME: Rule = ("printable text", _is_text)
WEIGHTS: Rule = (
    "a path or s3:// URL",
    lambda value: _is_text(value) and not str(value).startswith("http"),
)
DIGEST: Rule = (
    "64 hexadecimal digits",
    lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-fA-F]{64}", value) is not None,
)
MEAN: Rule = ("three numbers", _is_triple)
STD: Rule = (
    "three numbers above zero",
    lambda value: _is_triple(value) and isinstance(value, list) and min(value) > 0,
)


def _is_colour(value: object) -> bool:
    return _is_triple(value) and isinstance(value, list) and all(part in range(256) for part in value)


COLOUR: Rule = ("three whole numbers of 0 to 255", _is_colour)


def one_of(*values: str) -> Rule:
    return (" or ".join(f'"{value}"' for value in values), lambda value: value in values)


def whole_number(least: int, most: int) -> Rule:
    return (
        f"a whole number of {least} to {most}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
    )


def share() -> Rule:
    return (
        "a number above 0 and under 1",
        lambda value: isinstance(value, int | float) and _is_number(value) and 0 < value < 1,
    )


def check_keys(table: Mapping[str, object], rules: Rules, required: Sequence[str], *, where: str) -> None:
    """Args: `where` begins each message. Raises ModelError: a key is missing, unknown or of a wrong value."""
    unknown = sorted(table.keys() - rules.keys())
    if unknown:
        raise ModelError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(rules)}")
    for key in required:
        if key not in table:
            raise ModelError(f"{where}: key {key!r} is missing; required are {', '.join(required)}")
    for key, value in table.items():
        allowed, is_allowed = rules[key]
        if not is_allowed(value):
            raise ModelError(f"{where}: {key} = {_show(value)}, it must be {allowed}")


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
