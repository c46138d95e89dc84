"""Texts just under, at and just over a limit of bytes, of characters of one to four bytes."""

from collections.abc import Iterator

LETTERS = {1: "k", 2: "é", 3: "日", 4: "\U0001f600"}


def text_of(size_bytes: int, letter: str, *, start: str = "", end: str = "") -> str:
    """Exactly so many bytes of UTF-8, filled up with ASCII."""
    room = size_bytes - len((start + end).encode())
    count, rest = divmod(room, len(letter.encode()))
    return start + letter * count + "a" * rest + end


def around(limit_bytes: int) -> Iterator[tuple[int, str]]:
    """Sizes beside a limit, with each kind of letter."""
    for letter in LETTERS.values():
        for size_bytes in (limit_bytes - 1, limit_bytes, limit_bytes + 1):
            yield size_bytes, letter
