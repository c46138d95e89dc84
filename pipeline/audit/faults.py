"""What a verification found wrong."""

from dataclasses import dataclass

MAX_FAULTS = 100  # a log that was replaced has as many as entries


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """`index` is of the first entry that is concerned; None where it is about the log as a whole."""

    index: int | None
    text: str


class Faults:
    """The first of them."""

    def __init__(self) -> None:
        self._found: list[Fault] = []

    def add(self, index: int | None, text: str) -> None:
        if len(self._found) < MAX_FAULTS:
            self._found.append(Fault(index=index, text=text))

    def in_order(self) -> tuple[Fault, ...]:
        """By entry; those about the whole log at the end."""
        return tuple(sorted(self._found, key=lambda fault: (fault.index is None, fault.index or 0)))
