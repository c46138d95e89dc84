"""Questions that come while others of their kind are answered go together, in one call.

The first ones go at once. Who comes later waits until one of them is back, and then asks for all who wait. So
nobody waits for company, and a question joins only a call that begins after it came.
"""

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from pipeline.errors import TransientError

AT_ONCE = 1  # call of one kind. With 2, only half as many questions go together (decision 0179)
MOST_WAIT_S = 0.05  # a call takes a tenth of it. Who waits longer than this asks without regard to the others

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Call = Callable[[Sequence[Item]], Sequence[Answer]]


class _Question(Generic[Item, Answer]):
    """Of a thread, which waits for `woken` at most once: until it leads a group or is answered."""

    __slots__ = ("answers", "error", "group", "item", "size", "woken")

    def __init__(self, item: Item, size: int) -> None:
        self.item = item
        self.size = size
        self.group: Sequence[_Question[Item, Answer]] = ()  # that it asks for, itself the first
        self.answers: tuple[Answer] | None = None
        self.error: TransientError | None = None
        self.woken = threading.Lock()
        self.woken.acquire()


class _Lane(Generic[Item, Answer]):
    """Of one kind. It is there while a call is under way."""

    __slots__ = ("under_way", "waiting")

    def __init__(self) -> None:
        self.under_way = 0
        self.waiting: list[_Question[Item, Answer]] = []


class Gathering(Generic[Item, Answer]):
    """Safe to share between threads. It has none of its own.

    Args:
        at_once: calls of one kind before others wait.
        most_wait_s: for one of them to come back.
        told: how many questions each call holds.
    """

    def __init__(
        self,
        *,
        at_once: int = AT_ONCE,
        most_wait_s: float = MOST_WAIT_S,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._at_once = at_once
        self._most_wait_s = most_wait_s
        self._told = told
        self._lanes: dict[Hashable, _Lane[Item, Answer]] = {}
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Questions that are in no call yet."""
        with self._lock:
            return sum(len(lane.waiting) for lane in self._lanes.values())

    def ask(
        self, kind: Hashable, item: Item, call: Call[Item, Answer], *, size: int = 1, most: int
    ) -> Answer:
        """What `call` answers to this item.

        Args:
            kind: items of one kind can go in one call, and it does not matter whose `call` that is.
            call: an answer for each item, in order. It raises TransientError only when it would for each of
                them. After any other error each item of several is asked for once more, by itself.
            size: of the item.
            most: size of all items of one call.
        """
        question: _Question[Item, Answer] = _Question(item, size)
        if group := self._begin(kind, question) or self._wait(kind, question, most):
            self._call(kind, group, call, most)
        if question.error is not None:
            raise TransientError(*question.error.args) from question.error  # one for each thread
        if question.answers is None:
            return call([item])[0]
        return question.answers[0]

    def _begin(self, kind: Hashable, question: _Question[Item, Answer]) -> Sequence[_Question[Item, Answer]]:
        """What is to be asked for now. Nothing if the question has to wait."""
        with self._lock:
            lane = self._lanes.setdefault(kind, _Lane())
            if lane.under_way >= self._at_once:
                lane.waiting.append(question)
                return ()
            lane.under_way += 1
        return (question,)

    def _wait(
        self, kind: Hashable, question: _Question[Item, Answer], most: int
    ) -> Sequence[_Question[Item, Answer]]:
        """What is to be asked for now. Nothing if another thread has asked this question, too."""
        if question.woken.acquire(timeout=self._most_wait_s):
            return question.group
        with self._lock:
            lane = self._lanes.get(kind)
            if lane is not None and question in lane.waiting:
                place = lane.waiting.index(question)
                group = next(_groups(lane.waiting[place:], most))
                del lane.waiting[place : place + len(group)]
                lane.under_way += 1
                return group
        question.woken.acquire()  # it is in a call, which has its own timeouts and wakes it however it ends
        return question.group

    def _call(
        self,
        kind: Hashable,
        group: Sequence[_Question[Item, Answer]],
        call: Call[Item, Answer],
        most: int,
    ) -> None:
        try:
            answers = call([question.item for question in group])
            for question, answer in list(zip(group, answers, strict=True)):  # of all, or of none
                question.answers = (answer,)
        except TransientError as err:
            for question in group[1:]:
                question.error = err
            raise
        except Exception:  # of one item, perhaps: it must not become that of the others
            if len(group) == 1:
                raise
        finally:
            self._hand_on(kind, most)
            for question in group[1:]:
                question.woken.release()
            self._told(len(group))

    def _hand_on(self, kind: Hashable, most: int) -> None:
        """A call is over: let those ask that wait, unless too many do."""
        with self._lock:
            lane = self._lanes[kind]
            lane.under_way -= 1
            groups = list(_groups(lane.waiting, most)) if lane.under_way < self._at_once else []
            if groups:
                lane.waiting = []
            lane.under_way += len(groups)
            if not lane.under_way:
                del self._lanes[kind]
        for group in groups:
            group[0].group = group
            group[0].woken.release()


def _groups(
    questions: Iterable[_Question[Item, Answer]], most: int
) -> Iterator[Sequence[_Question[Item, Answer]]]:
    """In order, each of at most this size and at least one question."""
    group: list[_Question[Item, Answer]] = []
    size = 0
    for question in questions:
        if group and size + question.size > most:
            yield group
            group, size = [], 0
        group.append(question)
        size += question.size
    if group:
        yield group
