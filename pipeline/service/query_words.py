"""Read the words of a query, whoever asks. Light, as `query_text` is."""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TypedDict

from pipeline.errors import ArgumentError
from pipeline.names import shown
from pipeline.search.query import Query, Shown, Text, Weights

MAX_PROMPTS = 16  # of one query, wanted and unwanted together
MAX_PROMPT_CHARS = 1000  # no model of today reads more than a few hundred
MAX_WEIGHT = 100.0
_PARTS = {"text": "text", "not": "unwanted", "picture": "picture"}  # as callers name them, and as we do
_UNREADABLE = frozenset({"Cc", "Cs"})  # control characters, and halves of a character


class WordsOfQuery(TypedDict):
    """What `read_words` takes beside a picture."""

    text: list[str]
    unwanted: list[str]
    weights: dict[str, float]


def read_words(
    picture: Shown | None,
    *,
    text: Sequence[str] = (),
    unwanted: Sequence[str] = (),
    weights: Mapping[str, str] | Mapping[str, float] | None = None,
) -> Query:
    """A query of words, of a picture, or of both.

    Args:
        text: what the images are to show. Several texts are averaged.
        unwanted: what they are not to show.
        weights: of `text`, `not` and `picture`.

    Raises:
        ArgumentError: nothing to search with, a text that nobody can read, or a weight that is none.
    """
    if not text and not unwanted:
        if picture is None:
            raise ArgumentError("nothing to search with; a text or a picture is expected")
        if weights:
            raise ArgumentError("weights count only beside a text, and none is given")
        return picture
    if len(text) + len(unwanted) > MAX_PROMPTS:
        raise ArgumentError(
            f"{len(text) + len(unwanted)} texts; at most {MAX_PROMPTS} are allowed in one query"
        )
    if not text and picture is None:
        raise ArgumentError("`not` is given alone; a text or a picture beside it is expected")
    prompts = tuple(_read_prompt(one, of="text") for one in text)
    others = tuple(_read_prompt(one, of="not") for one in unwanted)
    return Text(
        text=described(prompts, others, picture.text if picture else ""),
        prompts=prompts,
        unwanted=others,
        picture=picture,
        weights=_read_weights(weights or {}, _given(prompts, others, picture)),
    )


def described(text: Sequence[str], unwanted: Sequence[str], picture: str) -> str:
    """A query in one line, for answers and records."""
    return "; ".join([*text, *(f"not {one}" for one in unwanted), *([picture] if picture else [])])


def _read_prompt(text: str, *, of: str) -> str:
    """With one space where there are any. What a model cannot read is refused, and nothing is cut off."""
    words = " ".join(text.split())
    if not words:
        raise ArgumentError(f"{of} {shown(text)} is empty; words are expected")
    if len(words) > MAX_PROMPT_CHARS:
        raise ArgumentError(
            f"{of} {shown(words)}: {len(words)} characters, at most {MAX_PROMPT_CHARS} are allowed"
        )
    for char in words:
        if unicodedata.category(char) in _UNREADABLE:
            raise ArgumentError(
                f"{of} {shown(words)}: U+{ord(char):04X} is no character of a text; words are expected"
            )
    return words


def _given(prompts: Sequence[str], unwanted: Sequence[str], picture: Shown | None) -> list[str]:
    parts = {"text": bool(prompts), "not": bool(unwanted), "picture": picture is not None}
    return [name for name, is_given in parts.items() if is_given]


def _read_weights(weights: Mapping[str, str] | Mapping[str, float], given: Sequence[str]) -> Weights:
    for name in weights:
        if name not in given:
            raise ArgumentError(
                f"weight of {shown(name)}: the query has {' and '.join(given)}, and no {shown(name)}"
            )
    return Weights(**{_PARTS[name]: weight for name, weight in read_weights(weights).items()})


def read_weights(weights: Mapping[str, str] | Mapping[str, float]) -> dict[str, float]:
    """Raises ArgumentError: one is none, or nobody knows what it is of."""
    for name in weights:
        if name not in _PARTS:
            raise ArgumentError(f"weight of {shown(name)}: {', '.join(_PARTS)} are possible")
    return {name: _read_weight(name, weight) for name, weight in weights.items()}


def _read_weight(name: str, weight: str | float) -> float:
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not 0 < number <= MAX_WEIGHT:  # nor NaN
        raise ArgumentError(
            f"weight of {name} is {shown(str(weight))}; a number above 0, at most {MAX_WEIGHT:g}, is expected"
        )
    return number
