"""Threads that wait share a commit: who is taken along, who is refused, and who goes next."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.audit.group_commit import Close, GroupCommit, _Ticket
from pipeline.errors import TransientError

Groups = GroupCommit[int, int]


class Held:
    """A commit that stands still, before or after it closes its group, until it is let go."""

    def __init__(self, *, closed: bool = True) -> None:
        self._is_closed = closed
        self.is_in, self.may_go_on = threading.Event(), threading.Event()
        self.groups: list[list[int]] = []

    def __call__(self, close: Close[int]) -> Sequence[int]:
        if self._is_closed:
            close()
        if not self.groups:
            self.is_in.set()
            assert self.may_go_on.wait(10)
        self.groups.append(list(close()))
        return [10 * item for item in close()]


def wait_for(group: Groups, pending: int) -> None:
    while len(group._pending) < pending:
        threading.Event().wait(0.001)


def test_callers_that_wait_share_a_commit() -> None:
    commit = Held()
    group = Groups(commit, max_items=3, wait_s=10)
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(group.submit, 0)]
        assert commit.is_in.wait(10)
        answers += [pool.submit(group.submit, item) for item in range(1, 6)]
        wait_for(group, 5)
        commit.may_go_on.set()
        assert [answer.result() for answer in answers] == [0, 10, 20, 30, 40, 50]
    assert [len(items) for items in commit.groups] == [1, 3, 2]


def test_callers_that_come_before_a_commit_closes_its_group_are_in_it() -> None:
    commit = Held(closed=False)
    group = Groups(commit, max_items=3, wait_s=10)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(group.submit, 0)]
        assert commit.is_in.wait(10)
        answers += [pool.submit(group.submit, item) for item in range(1, 4)]
        wait_for(group, 4)
        commit.may_go_on.set()
        assert [answer.result() for answer in answers] == [0, 10, 20, 30]
    assert [len(items) for items in commit.groups] == [3, 1]
    assert commit.groups[0][0] == 0


def test_every_caller_of_a_group_gets_its_error_and_the_next_one_goes_on() -> None:
    def commit(close: Close[int]) -> Sequence[int]:
        if 1 in close():
            raise TransientError("away")
        return close()

    group = Groups(commit, max_items=3, wait_s=10)
    with pytest.raises(TransientError, match="away"):
        group.submit(1)
    assert group.submit(2) == 2


def test_an_error_before_the_group_is_closed_is_that_of_all_who_wait() -> None:
    is_in, may_go_on = threading.Event(), threading.Event()

    def commit(close: Close[int]) -> Sequence[int]:
        if not is_in.is_set():
            is_in.set()
            assert may_go_on.wait(10)
            raise TransientError("locked")
        return close()

    group = Groups(commit, max_items=3, wait_s=10)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(group.submit, 1)
        assert is_in.wait(10)
        second = pool.submit(group.submit, 2)
        wait_for(group, 2)
        may_go_on.set()
        for refused in (first, second):
            with pytest.raises(TransientError, match="locked"):
                refused.result()
    assert group.submit(3) == 3


def test_who_waits_too_long_is_refused_and_not_committed() -> None:
    commit = Held()
    group = Groups(commit, max_items=3, wait_s=0.01)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(group.submit, 1)
        assert commit.is_in.wait(10)
        with pytest.raises(TransientError, match=r"within 0.01 s"):
            group.submit(2)
        with pytest.raises(TransientError, match=r"busy"):
            group.alone(lambda: 3)
        commit.may_go_on.set()
        assert slow.result() == 10
    assert commit.groups == [[1]]
    assert group.alone(lambda: 3) == 3


def test_who_works_alone_has_nobody_beside_and_loses_nobody_behind() -> None:
    commit, inside = Held(), list[str]()
    group = Groups(commit, max_items=3, wait_s=10)

    def work() -> str:
        inside.append("begun")
        assert group._is_taken
        assert len(commit.groups) == 2  # those before it, and not the one behind it
        inside.append("ended")
        return "done"

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(group.submit, 0)
        assert commit.is_in.wait(10)
        calls: list[Callable[[], object]] = [
            lambda: group.submit(1),
            lambda: group.alone(work),
            lambda: group.submit(2),
        ]
        answers = []
        for place, call in enumerate(calls, start=1):
            answers.append(pool.submit(call))
            wait_for(group, place)
        commit.may_go_on.set()
        assert [first.result(), *(answer.result() for answer in answers)] == [0, 10, "done", 20]
    assert inside == ["begun", "ended"]
    assert commit.groups == [[0], [1], [2]]


def test_work_alone_that_fails_gives_the_turn_away() -> None:
    group = Groups(lambda close: close(), max_items=3, wait_s=0.01)

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        group.alone(fail)
    assert group.submit(1) == 1


class _Interrupted:
    """In the place of a ticket's lock. Ctrl-C comes while somebody waits for it."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._lock, self._meanwhile = threading.Lock(), meanwhile
        self._lock.acquire()
        self._came = False

    def acquire(self, timeout: float = -1) -> bool:
        if not self._came:
            self._came = True
            self._meanwhile()
            raise KeyboardInterrupt
        return self._lock.acquire(timeout=10)

    def release(self) -> None:
        self._lock.release()


@pytest.mark.parametrize("is_called", [False, True])
def test_ctrl_c_while_waiting_leaves_the_turn_to_others(is_called: bool) -> None:
    commit = Held()
    group = Groups(commit, max_items=3, wait_s=10)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(group.submit, 0)
        assert commit.is_in.wait(10)

        def meanwhile() -> None:
            if is_called:  # the turn has come, and the signal was quicker
                commit.may_go_on.set()
                assert first.result() == 0

        ticket = _Ticket[int, int]((1,))
        ticket.called = _Interrupted(meanwhile)  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            group._come_up(ticket)
        commit.may_go_on.set()
        assert first.result() == 0
        assert group.submit(2) == 20
    assert commit.groups == [[0], [2]]
