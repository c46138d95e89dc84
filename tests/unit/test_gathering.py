"""Gathering: questions of several threads in one call, and what becomes of each."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ArgumentError, TransientError
from pipeline.search.gathering import Gathering
from tests.fleet import wait_until

ENDLESS_S = 600.0  # no test waits this long: it would fail by its own deadline
DEADLINE_S = 30.0
KIND, OTHER_KIND = "a kind", "another kind"
BAD, AWAY, DEADLY = "bad", "away", "deadly"


class Killed(BaseException):
    """The thread ends."""


class Doubler:
    """Answers when it is let, and notes which items came together."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, items: Sequence[str]) -> list[str]:
        self.calls.append(list(items))
        assert self.go_on.wait(DEADLINE_S)
        if DEADLY in items:
            raise Killed
        if AWAY in items:
            raise TransientError("the index is away")
        if BAD in items:
            raise ArgumentError(f"{BAD} is no item")
        return [item * 2 for item in items]


Submit = Callable[..., "Future[str]"]


class Crowd:
    """Threads that ask one after the other, while `doubler` holds its answers back."""

    def __init__(self, submit: Submit, doubler: Doubler, gathering: Gathering[str, str]) -> None:
        self._submit = submit
        self._doubler = doubler
        self._gathering = gathering

    def ask(self, item: str, kind: str = KIND, *, most: int = 100) -> "Future[str]":
        """Returns when the question is in a call, or waits for one."""
        before = self._settled()
        answer = self._submit(self._gathering.ask, kind, item, self._doubler, most=most)
        wait_until(lambda: self._settled() > before, "the question is in a call or waits")
        return answer

    def _settled(self) -> int:
        return self._gathering.waiting + len(self._doubler.calls)


@contextmanager
def held(doubler: Doubler, gathering: Gathering[str, str]) -> Iterator[Crowd]:
    """Whoever asks within gets no answer before the end."""
    doubler.go_on.clear()
    with ThreadPoolExecutor(16) as pool:
        try:
            yield Crowd(pool.submit, doubler, gathering)
        finally:
            doubler.go_on.set()


def patient(at_once: int = 1, told: Callable[[int], None] = lambda _: None) -> Gathering[str, str]:
    return Gathering(at_once=at_once, most_wait_s=ENDLESS_S, told=told)


def test_one_who_asks_alone_asks_for_one() -> None:
    doubler, gathering = Doubler(), patient()
    assert [gathering.ask(KIND, item, doubler, most=10) for item in "ab"] == ["aa", "bb"]
    assert doubler.calls == [["a"], ["b"]]


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_the_first_ask_at_once_and_the_others_together_when_one_is_back(at_once: int) -> None:
    told: list[int] = []
    doubler, gathering = Doubler(), patient(at_once, told.append)
    with held(doubler, gathering) as crowd:
        answers = [crowd.ask(item) for item in "abcdef"]
    assert [answer.result() for answer in answers] == ["aa", "bb", "cc", "dd", "ee", "ff"]
    *first, last = doubler.calls
    assert first == [[item] for item in "abcdef"[:at_once]]
    assert last == list("abcdef"[at_once:])
    assert sorted(told) == sorted(map(len, doubler.calls))


def test_a_question_joins_no_call_that_is_under_way() -> None:
    doubler, gathering = Doubler(), patient()
    with held(doubler, gathering) as crowd:
        crowd.ask("a")
        later = crowd.ask("a")
    assert later.result() == "aa"
    assert doubler.calls == [["a"], ["a"]]


def test_a_question_waits_for_none_of_another_kind() -> None:
    doubler, gathering = Doubler(), patient()
    with held(doubler, gathering) as crowd:
        crowd.ask("a")
        crowd.ask("b", OTHER_KIND)
        assert doubler.calls == [["a"], ["b"]]
        others = [crowd.ask("c"), crowd.ask("d", OTHER_KIND)]
    assert [other.result() for other in others] == ["cc", "dd"]
    assert sorted(doubler.calls[2:]) == [["c"], ["d"]]


def test_who_has_waited_long_enough_asks_beside_the_others() -> None:
    doubler = Doubler()
    gathering: Gathering[str, str] = Gathering(at_once=1, most_wait_s=0)
    with held(doubler, gathering) as crowd:
        crowd.ask("a")
        crowd.ask("b")
        wait_until(lambda: doubler.calls == [["a"], ["b"]], "the second asks while the first waits")
    assert gathering.ask(KIND, "c", doubler, most=10) == "cc"


def test_a_call_is_bounded_and_who_has_no_place_in_it_asks_at_the_same_time() -> None:
    doubler, gathering = Doubler(), patient()
    with held(doubler, gathering) as crowd:
        answers = [crowd.ask(item, most=2) for item in "abcdef"]
    assert [answer.result() for answer in answers] == [item * 2 for item in "abcdef"]
    assert sorted(doubler.calls[1:]) == [["b", "c"], ["d", "e"], ["f"]]


def test_the_fault_of_one_is_that_of_no_other() -> None:
    doubler, gathering = Doubler(), patient()
    with held(doubler, gathering) as crowd:
        first, *others = [crowd.ask(item) for item in ("a", "b", BAD, "c")]
    assert first.result() == "aa"
    assert [others[0].result(), others[2].result()] == ["bb", "cc"]
    with pytest.raises(ArgumentError, match="bad is no item"):
        others[1].result()
    assert sorted(doubler.calls[2:]) == [["b"], [BAD], ["c"]]  # once more, each by itself


def test_the_fault_of_one_who_asks_alone_is_not_asked_for_again() -> None:
    doubler, gathering = Doubler(), patient()
    with pytest.raises(ArgumentError):
        gathering.ask(KIND, BAD, doubler, most=10)
    assert doubler.calls == [[BAD]]
    assert gathering.ask(KIND, "a", doubler, most=10) == "aa"


def test_an_index_that_is_away_is_away_for_all_and_is_asked_once() -> None:
    doubler, gathering = Doubler(), patient()
    with held(doubler, gathering) as crowd:
        first, *others = [crowd.ask(item) for item in ("a", "b", AWAY, "c")]
    assert first.result() == "aa"
    errors = [other.exception() for other in others]
    assert [str(error) for error in errors] == ["the index is away"] * 3
    assert all(type(error) is TransientError for error in errors)
    assert len(set(map(id, errors))) == 3  # each thread writes its way into its own
    assert len(doubler.calls) == 2


def test_the_others_are_answered_when_the_thread_that_asks_for_them_dies() -> None:
    doubler, gathering = Doubler(), patient()
    with held(doubler, gathering) as crowd:
        first, dead, *others = [crowd.ask(item) for item in ("a", DEADLY, "b", "c")]
    assert first.result() == "aa"
    assert [other.result() for other in others] == ["bb", "cc"]
    with pytest.raises(Killed):
        dead.result()
    assert gathering.ask(KIND, "d", doubler, most=10) == "dd"


def test_an_answer_that_is_not_of_all_is_of_nobody() -> None:
    gathering, go_on, begun = patient(), threading.Event(), threading.Event()

    def forgetful(items: Sequence[str]) -> list[str]:
        begun.set()
        assert go_on.wait(DEADLINE_S)
        return [f"{item} of {len(items)}" for item in items][:1]

    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(gathering.ask, KIND, "a", forgetful, most=10)]
        assert begun.wait(DEADLINE_S)
        answers += [pool.submit(gathering.ask, KIND, item, forgetful, most=10) for item in "bc"]
        wait_until(lambda: gathering.waiting == 2, "two wait")
        go_on.set()
        assert [answer.result() for answer in answers] == ["a of 1", "b of 1", "c of 1"]


@given(
    asked=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y", BAD])), max_size=12),
    at_once=st.integers(1, 3),
    most=st.integers(1, 4),
    most_wait_s=st.sampled_from([0.0, 0.001, ENDLESS_S]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_together_each_gets_what_it_gets_alone(
    asked: list[tuple[str, str]], at_once: int, most: int, most_wait_s: float
) -> None:
    gathering: Gathering[str, str] = Gathering(at_once=at_once, most_wait_s=most_wait_s)
    callers = {kind: Doubler() for kind in "ab"}

    def ask(question: tuple[str, str]) -> str:
        kind, item = question
        try:
            return gathering.ask(kind, item, callers[kind], most=most)
        except ArgumentError:
            return "refused"

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(ask, asked))
    assert found == ["refused" if item == BAD else item * 2 for _, item in asked]
    assert gathering.waiting == 0
    assert all(len(items) <= most for doubler in callers.values() for items in doubler.calls)
    assert all(items for doubler in callers.values() for items in doubler.calls)
