"""What a glob matches, against a matcher that is written another way."""

import fnmatch
import re
import re._parser as parser  # type: ignore[import-not-found]  # of the standard library, and not in its stubs
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from pipeline.ingest.globs import compile_glob, what_is_wrong


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


@settings(max_examples=2000)
@given(PATTERNS, KEYS)
@example("**/a/**", "a/b")
@example("**/a/**", "b/a/b")
@example("a/**/b", "a/b")
@example("b**/a", "ba")
@example("[**/[a]", "a")
def test_a_pattern_matches_what_its_words_say(pattern: str, key: str) -> None:
    assert matches(pattern, key) == matches_by_trying(pattern, key)


@settings(max_examples=500)
@given(PATTERNS.filter(lambda text: "**/" not in text), KEYS)
def test_without_folders_a_pattern_is_that_of_the_standard_library(pattern: str, key: str) -> None:
    assert matches(pattern, key) == bool(re.compile(fnmatch.translate(pattern)).match(key))


PATHS = st.lists(st.sampled_from(["@eaDir", "a", "b.jpg", "#recycle"]), min_size=1, max_size=5).map("/".join)


@given(st.sampled_from(["@eaDir", "a", "b.jpg"]), PATHS)
def test_a_folder_anywhere_is_what_git_means_by_it(name: str, path: str) -> None:
    """Git has other rules for a lone star, and the same ones for these two."""
    for pattern in (f"**/{name}/**", f"{name}/**"):
        assert matches(pattern, path) == GitIgnoreSpec.from_lines([pattern]).match_file(path)


def repeats_of(parsed: Any) -> list[Any]:
    """Every repeat of a parsed expression that is not inside another one, with what follows it in its run."""
    return [argument for op, argument in parsed if op in (parser.MIN_REPEAT, parser.MAX_REPEAT)]


def goes_back(expression: str) -> bool:
    """Whether two parts of it could be tried against each other, or one against itself."""
    *before, last = split_runs(list(parser.parse(expression, re.DOTALL)))
    return any(len(repeats_of(run)) > 1 or holds_nested(run) for run in (*before, last))


def split_runs(parsed: list[Any]) -> list[list[Any]]:
    """What is settled, group by group, and the rest, whose only star is at its beginning."""
    settled = [list(argument) for op, argument in parsed if op is parser.ATOMIC_GROUP]
    return [*settled, parsed[len(settled) :]]


def holds_nested(run: list[Any]) -> bool:
    """A repeat may hold another only as `(?:.*?/)??` does: at most once, and ended by one character."""
    for least, most, inner in repeats_of(run):
        nested = repeats_of(inner)
        once_and_ended = (least, most) == (0, 1) and len(nested) == 1 and len(inner) == 2
        if nested and not once_and_ended:
            return True
    return False


@given(st.lists(st.sampled_from(["a", "/", "*", "**", "**/", "/**/", "?", "[a]", "["]), max_size=40))
def test_no_part_of_a_pattern_is_tried_against_another_part(words: list[str]) -> None:
    """By construction and not by the clock: so the work is at most key length times pattern length."""
    assert not goes_back(compile_glob("".join(words)).pattern)


@pytest.mark.parametrize("wrong", ["(?:.*?a)*b", ".*?a.*?b", "(?>.*?a.*?b)c"])
def test_an_expression_that_goes_back_is_told(wrong: str) -> None:
    """The check above can fail."""
    assert goes_back(wrong)


def test_the_work_does_not_grow_with_the_number_of_stars() -> None:
    """Counted in stars and not in seconds: a search that goes back would not end within a lifetime."""
    for pattern in ("*a" * 30 + "x", "**/a/" * 30 + "x", "*a**/" * 20 + "x"):
        assert not matches(pattern, "a/" * 500)


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        (["*.jpg"] * 1000, ""),
        (["*.jpg"] * 1001, "1001 patterns were given; at most 1000 are read"),
        (["x" * 1024], ""),
        (
            ["*.jpg", "\n" + "x" * 1024],
            "the pattern that begins with '\\n" + "x" * 39 + "' has 1025 characters; at most 1024 are read",
        ),
        (["x" * 1024] * 64, ""),
        (
            ["x" * 1024] * 64 + ["y"],
            "the patterns have 65537 characters together; at most 65536 are read",
        ),
        (["\udcff*"], "the pattern '\\udcff*' has a NUL or is not valid Unicode; no key is like it"),
        (["a", "b\0"], "the pattern 'b\\x00' has a NUL or is not valid Unicode; no key is like it"),
    ],
)
def test_patterns_have_a_number_and_a_length_and_are_text(patterns: list[str], said: str) -> None:
    assert what_is_wrong(patterns) == said
