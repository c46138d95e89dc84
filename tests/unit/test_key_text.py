"""The text of a key: which texts can be one, and what is kept of it."""

import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from pipeline.service.key_text import KEY_ID, digest_of, id_in_text, new_key_text

SCANNED = re.compile(r"\bpictor_sk_[0-9A-Za-z]{61}\b")  # as docs/security.md gives it to scanners


def test_a_new_key_is_a_word_that_scanners_match_and_names_its_id() -> None:
    for _ in range(200):
        text = new_key_text()
        assert SCANNED.fullmatch(text)
        key_id = id_in_text(text)
        assert key_id is not None
        assert KEY_ID.fullmatch(key_id)


def test_no_two_keys_share_an_id_or_a_secret() -> None:
    texts = [new_key_text() for _ in range(500)]
    assert len({id_in_text(text) for text in texts}) == len({text[22:65] for text in texts}) == 500


@given(st.data())
def test_a_key_with_another_character_is_none(data: st.DataObject) -> None:
    text = new_key_text()
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda char: char != text[place]))
    assert id_in_text(text[:place] + other + text[place + 1 :]) is None


@given(st.text())
def test_no_other_text_is_a_key(text: str) -> None:
    assert id_in_text(text) is None
    assert id_in_text(new_key_text() + text) is None or not text


def test_the_digest_is_of_the_whole_text() -> None:
    text = new_key_text()
    assert digest_of(text) == hashlib.sha256(text.encode()).hexdigest()
