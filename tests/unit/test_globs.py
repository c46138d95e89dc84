"""What a glob matches, against a matcher that is written another way."""

import fnmatch
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from pipeline.ingest.globs import compile_glob


def matches(pattern: str, key: str) -> bool:
    return compile_glob(pattern).fullmatch(key) is not None


def matches_by_trying(pattern: str, key: str, at_segment: bool = True) -> bool:
    """The meaning, word by word: every way to read the first token is tried."""
    if not pattern:
        return not key
    if at_segment and pattern.startswith("**/"):
        starts = [0] + [at + 1 for at, char in enumerate(key) if char == "/"]
        return any(matches_by_trying(pattern[3:], key[start:], True) for start in starts)
    if pattern[0] == "*":
        return any(matches_by_trying(pattern[1:], key[at:], False) for at in range(len(key) + 1))
    if not key:
        return False
    width, chosen = first_set(pattern)
    rest = pattern[width:]
    return key[0] in chosen and matches_by_trying(rest, key[1:], pattern[width - 1] == "/")


def first_set(pattern: str) -> tuple[int, set[str]]:
    """How long the first token is, and the characters that it takes."""
    if pattern[0] == "?":
        return 1, set(ALPHABET)
    end = pattern.find("]", 3 if pattern[1:2] == "!" else 2)
    if pattern[0] != "[" or end < 0:
        return 1, {pattern[0]}
    within = set(pattern[1:end].removeprefix("!"))
    return end + 1, set(ALPHABET) - within if pattern[1] == "!" else within


ALPHABET = "ab/.\n"
KEYS = st.text(ALPHABET, max_size=9)
PATTERNS = st.lists(
    st.sampled_from(["a", "b", "/", ".", "*", "**", "**/", "/**/", "?", "[a]", "[!a]", "[ab]", "["]),
    max_size=7,
).map("".join)


@settings(max_examples=2000, deadline=None)
@given(PATTERNS, KEYS)
@example("**/a/**", "a/b")
@example("**/a/**", "b/a/b")
@example("a/**/b", "a/b")
@example("b**/a", "ba")
@example("[**/[a]", "a")
def test_a_pattern_matches_what_its_words_say(pattern: str, key: str) -> None:
    assert matches(pattern, key) == matches_by_trying(pattern, key)


@settings(max_examples=500, deadline=None)
@given(PATTERNS.filter(lambda text: "**/" not in text), KEYS)
def test_without_folders_a_pattern_is_that_of_the_standard_library(pattern: str, key: str) -> None:
    assert matches(pattern, key) == bool(re.compile(fnmatch.translate(pattern)).match(key))


PATHS = st.lists(st.sampled_from(["@eaDir", "a", "b.jpg", "#recycle"]), min_size=1, max_size=5).map("/".join)


@given(st.sampled_from(["@eaDir", "a", "b.jpg"]), PATHS)
def test_a_folder_anywhere_is_what_git_means_by_it(name: str, path: str) -> None:
    """Git has other rules for a lone star, and the same ones for these two."""
    for pattern in (f"**/{name}/**", f"{name}/**"):
        assert matches(pattern, path) == GitIgnoreSpec.from_lines([pattern]).match_file(path)


def test_the_work_does_not_grow_with_the_number_of_stars() -> None:
    """Counted in stars and not in seconds: a search that goes back would not end within a lifetime."""
    for pattern in ("*a" * 30 + "x", "**/a/" * 30 + "x", "*a**/" * 20 + "x"):
        assert not matches(pattern, "a/" * 500)
