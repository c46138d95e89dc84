"""Cursors as callers see them: texts to hand back, on a command line as well."""

import pytest

from pipeline.api.cursors import Cursors
from pipeline.errors import ArgumentError


def test_no_cursor_is_taken_for_an_option_of_a_command() -> None:
    cursors = Cursors("key")
    # One in 64 texts of base64 begins with "-". Over 2,000 that none does is no chance.
    assert {cursors.sign(f"place {number}", of="faces")[0] for number in range(2_000)} == {"c"}


def test_a_cursor_is_read_whole_or_not_at_all() -> None:
    cursors = Cursors("key")
    cursor = cursors.sign("anna/größe 1.jpg", of="faces")
    assert cursors.read(cursor, of="faces") == "anna/größe 1.jpg"
    for other in (cursor[1:], cursor[:-1], f"c{cursor}", "c", ""):
        with pytest.raises(ArgumentError, match="next_token"):
            cursors.read(other, of="faces")
    with pytest.raises(ArgumentError):
        cursors.read(cursor, of="jobs")
