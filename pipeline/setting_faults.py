"""What is wrong with a setting, in our words: its name, what was found, and what is allowed.

A text is not shown. It may be a secret that was put into the wrong variable.
"""

from collections.abc import Iterable
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

MAX_NUMBER_CHARS = 20  # as many digits have 64 bits


def say_fault(variable: str, field: FieldInfo, found: object, words: str = "") -> str:
    """Args: `words` say what is allowed, where a check of ours found the fault."""
    return f"{variable}: found {_found(str(found))}, expected {words or _allowed(field)}"


def _found(text: str) -> str:
    is_number = text.isascii() and text.removeprefix("-").isdecimal() and len(text) <= MAX_NUMBER_CHARS
    return text if is_number else f"a text of {len(text)} characters"


def _allowed(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        *others, last = get_args(field.annotation)
        return f"{', '.join(others)} or {last}"
    kind = "a whole number" if field.annotation is int else "a number"
    return " ".join([kind, *_bounds(field.metadata)])


def _bounds(metadata: Iterable[object]) -> Iterable[str]:
    least = next((bound.ge for bound in metadata if isinstance(bound, Ge)), None)
    most = next((bound.le for bound in metadata if isinstance(bound, Le)), None)
    over = next((bound.gt for bound in metadata if isinstance(bound, Gt)), None)
    if over is not None:
        yield f"over {over}"
    if least is not None:
        yield f"from {least} to {most}" if most is not None else f"of {least} or more"
