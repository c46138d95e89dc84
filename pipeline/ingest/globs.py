"""Glob patterns over whole keys, as regular expressions that cannot take long.

`*` is any text, `?` one character, `[a-z]` one of a set, and `**/` at the beginning of a pattern or after a
`/` any number of folders, also none. `*` and `?` match `/`, too: keys are no paths.
"""

import fnmatch
import functools
import re
from collections.abc import Iterator

_TOKEN = re.compile(r"(?P<folders>(?:(?<=/)|^)\*\*/)|(?P<star>\*+)|(?P<set>\[!?\]?[^\]]*\])|(?P<one>.)", re.S)
_STAR, _FOLDERS = ".*?", "(?:.*?/)??"


@functools.lru_cache(maxsize=256)  # translating takes longer than matching, and there are millions of keys
def compile_glob(pattern: str) -> re.Pattern[str]:
    """An expression whose `fullmatch` is what `pattern` means."""
    *before, last = _runs(pattern)
    # A run before another star can stay at the first place where it fits: what lies between is the star's to
    # match. So no key makes the search go back over it, however many stars there are.
    settled = "".join(f"(?>{star}{fixed})" for star, fixed in before)
    return re.compile(f"{settled}{last[0]}{last[1]}", re.DOTALL)


def _runs(pattern: str) -> Iterator[tuple[str, str]]:
    """Each star, or nothing at the beginning, with the expression of what follows up to the next one."""
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
    # The standard library knows what is special inside brackets, and what an empty range is.
    return fnmatch.translate(text).removeprefix("(?s:").removesuffix(r")\Z")
