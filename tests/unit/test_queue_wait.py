"""How long a message waited, by what its sender wrote on it."""

import time

import pytest

from pipeline.errors import TransientError
from tests.unit.fakes import error_of
from workers.broker.queue_wait import (
    BELIEVED_S,
    DUE_HEADER,
    PATIENCE_HEADER,
    check_still_wanted,
    due_stamp,
    patience_stamp,
    waited_s,
)


def test_a_message_has_waited_since_it_was_sent() -> None:
    assert waited_s({DUE_HEADER: time.time() - 60}) == pytest.approx(60, abs=5)


def test_a_delay_that_was_asked_for_is_no_wait() -> None:
    assert waited_s(due_stamp(delay_s=3600)) == 0.0  # nor is a sender's clock that is ahead of ours
    stamp = due_stamp(delay_s=-60)
    assert waited_s(stamp) == pytest.approx(60, abs=5)


@pytest.mark.parametrize("headers", [None, {}, {DUE_HEADER: "noon"}, {DUE_HEADER: None}, {DUE_HEADER: True}])
def test_a_foreign_sender_need_not_say(headers: dict[str, object] | None) -> None:
    assert waited_s(headers) is None


@pytest.mark.parametrize("due_at", [0, -1, -(2**63), float("-inf"), -1e308])
def test_a_wait_that_nobody_has_waited_is_not_counted(due_at: float) -> None:
    assert waited_s({DUE_HEADER: due_at}) is None


def test_a_wait_of_more_than_a_month_is_not_counted() -> None:
    assert waited_s({DUE_HEADER: time.time() - 31 * 86_400}) is None


@pytest.mark.parametrize("due_at", [float("inf"), float("nan"), 2**63, 10**400])
def test_a_time_that_never_comes_is_no_wait(due_at: float) -> None:
    assert waited_s({DUE_HEADER: due_at}) in (None, 0.0)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_makes_a_wait_of_at_most_an_hour(hours: int) -> None:
    waited = waited_s({DUE_HEADER: time.time() + 3600 * hours})
    assert waited is not None
    assert 0 <= waited < 3605


def headers_of(waited: float, patience_s: object) -> dict[str, object]:
    return {DUE_HEADER: time.time() - waited, PATIENCE_HEADER: patience_s}


def test_a_question_that_waited_longer_than_its_sender_does_is_not_begun() -> None:
    said = error_of(lambda: check_still_wanted(headers_of(95, 30)), TransientError)
    assert "this was 95 s on its queue, and its sender waits 30 s" in said


@pytest.mark.parametrize(
    ("waited", "patience_s"),
    [
        (20, 30),
        (-5, 30),  # the sender's clock is ahead
        (BELIEVED_S + 20, 30),  # a clock was set by an hour
        (20 - BELIEVED_S, 30),
        (95, None),
        (95, "30"),
        (95, True),
        (95, float("nan")),
    ],
)
def test_any_other_is(waited: float, patience_s: object) -> None:
    check_still_wanted(headers_of(waited, patience_s))


@pytest.mark.parametrize("headers", [{PATIENCE_HEADER: 30}, {}, None])
def test_a_question_of_a_foreign_sender_is(headers: dict[str, object] | None) -> None:
    check_still_wanted(headers)


def test_only_who_waits_says_how_long() -> None:
    assert patience_stamp(None) == {}
    assert patience_stamp(2.5) == {PATIENCE_HEADER: 2.5}
