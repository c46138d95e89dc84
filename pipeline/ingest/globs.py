"""Glob patterns over whole keys, as regular expressions that cannot take long.

`*` is any text, `?` one character, `[a-z]` one of a set, and `**/` at the beginning of a pattern or after a
`/` any number of folders, also none. `*` and `?` match `/`, too: keys are no paths.
"""

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence

from pipeline.ports import is_storable

# Compiling takes a millisecond a kilobyte, and a key is matched against each pattern of its job.
MAX_PATTERNS = 1000
MAX_PATTERN_CHARS = 1024  # as long as a key of S3
MAX_PATTERNS_CHARS = 2**16  # of one list, together

_TOKEN = re.compile(r"(?P<folders>(?:(?<=/)|^)\*\*/)|(?P<star>\*+)|(?P<set>\[!?\]?[^\]]*\])|(?P<one>.)", re.S)
_STAR, _FOLDERS = ".*?", "(?:.*?/)??"


class Globs:
    """Patterns, compiled once for millions of keys.

    A pattern without `/` is matched against the last part of the key, one with `/` against the whole key.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        of_keys = {pattern: "/" in pattern for pattern in patterns}
        self._of_keys = [compile_glob(pattern) for pattern, is_of_keys in of_keys.items() if is_of_keys]
        self._of_names = [compile_glob(pattern) for pattern, is_of_keys in of_keys.items() if not is_of_keys]

    def match(self, key: str) -> bool:
        """Whether any of them matches."""
        name = key.rsplit("/", 1)[-1]
        return any(glob.fullmatch(name) for glob in self._of_names) or any(
            glob.fullmatch(key) for glob in self._of_keys
        )


def pattern_of(key: str) -> str:
    """A pattern that this key is like, and no other one with as many folders."""
    return re.sub(r"[*?[]", r"[\g<0>]", key)


def what_is_wrong(patterns: Sequence[str]) -> str:
    """Why these are no patterns for one job. Empty when they are."""
    if len(patterns) > MAX_PATTERNS:
        return f"{len(patterns)} patterns were given; at most {MAX_PATTERNS} are read"
    for pattern in patterns:
        if len(pattern) > MAX_PATTERN_CHARS:
            size = f"{len(pattern)} characters; at most {MAX_PATTERN_CHARS} are read"
            return f"the pattern that begins with {pattern[:40]!r} has {size}"
        if not is_storable(pattern):
            return f"the pattern {pattern[:40]!r} has a NUL or is not valid Unicode; no key is like it"
    if (together := sum(map(len, patterns))) > MAX_PATTERNS_CHARS:
        return f"the patterns have {together} characters together; at most {MAX_PATTERNS_CHARS} are read"
    return ""


def compile_glob(pattern: str) -> re.Pattern[str]:
    """An expression whose `fullmatch` means the same as `pattern`."""
    *before, last = _runs(pattern)
    # A run before another star can stay at the first place where it fits: what lies between is the star's to
    # match. So no key makes the search go back over it, however many stars there are. Each run begins where
    # the one before it ended and tries every place of the key once: key length times pattern length.
    settled = "".join(f"(?>{star}{fixed})" for star, fixed in before)
    return re.compile(f"{settled}{last[0]}{last[1]}", re.DOTALL)


def _runs(pattern: str) -> Iterator[tuple[str, str]]:
    """Each star, or nothing at the beginning, with the expression of the part up to the next one."""
    star, fixed = "", ""
    for token in _TOKEN.finditer(pattern):
        match token.lastgroup:
            case "star" | "folders":
                yield star, fixed
                star, fixed = (_STAR if token.lastgroup == "star" else _FOLDERS), ""
            case "set":
                fixed += _set(token.group())
            case _:
                fixed += "." if token.group() == "?" else re.escape(token.group())
    yield star, fixed


def _set(text: str) -> str:
    # The standard library knows special characters inside brackets, and empty ranges.
    return fnmatch.translate(text).removeprefix("(?s:").removesuffix(r")\Z")
