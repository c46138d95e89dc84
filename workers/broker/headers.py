"""Headers of messages. Anybody who may publish can put anything there."""

from collections.abc import Mapping

Headers = Mapping[str, object]


def own_headers(headers: Headers | None) -> dict[str, object]:
    """For a copy: without those of the broker, and of a dead letter, which are about this very message."""
    return {name: value for name, value in (headers or {}).items() if not name.startswith("x-")}


def as_number(value: object) -> int | float | None:
    """None for what is no number. It may still be NaN, infinite, or longer than a float holds."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
