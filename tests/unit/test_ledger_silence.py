"""A ledger's server that is frozen costs one caller its time, and the others none."""

import threading
from collections.abc import Iterator

import pytest

from pipeline.adapters.ledger.engine import RETRY_DELAYS_S, repeated
from pipeline.adapters.ledger.silence import SLOW_S, AwayError, Silence, SilentError
from pipeline.errors import TransientError


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def silence(clock: Clock) -> Silence:
    return Silence(clock)


AWAY = AwayError("the server is away")


def fail(silence: Silence, clock: Clock, *, after_s: float, error: TransientError = AWAY) -> None:
    with silence.asking():
        clock.now_s += after_s
        raise error


def test_a_server_that_is_gone_may_be_asked_again_by_everybody(silence: Silence, clock: Clock) -> None:
    for _ in range(3):
        with pytest.raises(AwayError) as found:
            fail(silence, clock, after_s=SLOW_S / 2)
        assert not isinstance(found.value, SilentError)


def test_while_one_asks_a_silent_server_the_others_are_told_at_once(silence: Silence, clock: Clock) -> None:
    with pytest.raises(SilentError, match="the server is away"):
        fail(silence, clock, after_s=SLOW_S)
    with silence.asking(), pytest.raises(SilentError, match="the server is away"), silence.asking():
        pytest.fail("this one asked, too")
    with silence.asking(), silence.asking():  # it has answered, so everybody may ask
        pass


@pytest.mark.parametrize("after_s", [0.0, SLOW_S], ids=["at once", "slowly"])
def test_whoever_asks_and_fails_leaves_the_question_to_the_next(
    silence: Silence, clock: Clock, after_s: float
) -> None:
    with pytest.raises(SilentError):
        fail(silence, clock, after_s=SLOW_S)
    with pytest.raises(AwayError):
        fail(silence, clock, after_s=after_s)
    with silence.asking():
        pass


def test_an_answer_that_is_an_error_is_an_answer(silence: Silence, clock: Clock) -> None:
    with pytest.raises(SilentError):
        fail(silence, clock, after_s=SLOW_S)
    with pytest.raises(TransientError, match="read-only"):
        fail(silence, clock, after_s=SLOW_S, error=TransientError("the server is read-only now"))
    with silence.asking(), silence.asking():
        pass


def test_of_many_threads_one_asks(silence: Silence, clock: Clock) -> None:
    with pytest.raises(SilentError):
        fail(silence, clock, after_s=SLOW_S)
    all_there, told = threading.Barrier(8), list[str]()

    def ask() -> None:
        all_there.wait()
        try:
            with silence.asking():
                all_told.wait(60)
                told.append("asked")
        except SilentError:
            told.append("told")
            if told.count("told") == 7:
                all_told.set()

    all_told = threading.Event()
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(told) == ["asked", *["told"] * 7]


@pytest.mark.parametrize(
    ("error", "calls"),
    [(TransientError("a lock"), len(RETRY_DELAYS_S) + 1), (AwayError("gone"), 4), (SilentError("silent"), 1)],
)
def test_what_is_silent_is_not_asked_again(error: TransientError, calls: int) -> None:
    asked: Iterator[int] = iter(range(1, 10))
    last = 0

    def ask() -> None:
        nonlocal last
        last = next(asked)
        raise error

    with pytest.raises(type(error)):
        repeated(ask)
    assert last == calls
