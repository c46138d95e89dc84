"""Patterns of case references: `#` is a digit, `@` a letter A to Z, anything else stands for itself.

Each place of a pattern is one character of the reference, so that a match takes one look at each.
"""

import string

MAX_PATTERN_CHARS = 64
MAX_CASE_CHARS = 100

_KINDS = {"#": frozenset(string.digits), "@": frozenset(string.ascii_uppercase)}


def fits(case: str, pattern: str) -> bool:
    return len(case) == len(pattern) and all(
        char in _KINDS.get(place, (place,)) for char, place in zip(case, pattern, strict=True)
    )
