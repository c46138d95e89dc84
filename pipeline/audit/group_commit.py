"""One commit for all threads that wait: whoever gets the turn takes the others' items along."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

from pipeline.errors import TransientError

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Result = TypeVar("Result")

Close: TypeAlias = Callable[[], Sequence[Item]]


class _Ticket(Generic[Item, Answer]):
    """`called` is open once the ticket has the turn, or is settled."""

    def __init__(self, items: tuple[Item, ...]) -> None:
        self.items = items  # one, or none of a ticket that wants the turn and nothing else
        self.called = threading.Lock()
        self.called.acquire()
        self.has_turn = False
        self.answer: Answer | None = None
        self.error: BaseException | None = None


class GroupCommit(Generic[Item, Answer]):
    """Safe to share between threads. Each thread is woken once: with its answer, or with the turn.

    Args:
        commit: is given a function that closes the group and gives its items, and answers each. It calls it
            late, so that more come in. What it raises, every caller gets.
        max_items: of one commit.
        wait_s: for the turn.
    """

    def __init__(
        self, commit: Callable[[Close[Item]], Sequence[Answer]], *, max_items: int, wait_s: float
    ) -> None:
        self._commit, self._max_items, self._wait_s = commit, max_items, wait_s
        self._lock = threading.Lock()  # of what follows, and of `has_turn`
        self._pending: list[_Ticket[Item, Answer]] = []
        self._is_taken = False  # the turn, by whoever works or is called to work

    def submit(self, item: Item) -> Answer:
        """Raises TransientError when the turn does not come in time; the item is then not committed."""
        ticket: _Ticket[Item, Answer] = _Ticket((item,))
        if not self._come_up(ticket):
            raise TransientError(f"the log did not take an entry within {self._wait_s:g} s")
        if ticket.has_turn:
            self._commit_group()
        if ticket.error is not None:
            raise ticket.error
        assert ticket.answer is not None
        return ticket.answer

    def alone(self, work: Callable[[], Result]) -> Result:
        """Do something between two commits. Raises TransientError as `submit` does."""
        ticket: _Ticket[Item, Answer] = _Ticket(())
        if not self._come_up(ticket):
            raise TransientError(f"the log was busy for more than {self._wait_s:g} s")
        try:
            return work()
        finally:
            self._leave(ticket)

    def _come_up(self, ticket: _Ticket[Item, Answer]) -> bool:
        """Wait for the turn, or for somebody who takes the item along. False where neither came in time."""
        with self._lock:
            self._pending.append(ticket)
            if not self._is_taken:
                self._is_taken = ticket.has_turn = True
                return True
        try:
            return ticket.called.acquire(timeout=self._wait_s) or not self._withdraw(ticket)
        except BaseException:  # Ctrl-C: the turn must not be given to nobody
            if not self._withdraw(ticket) and ticket.has_turn:
                self._leave(ticket)
            raise

    def _withdraw(self, ticket: _Ticket[Item, Answer]) -> bool:
        """Whether nobody has taken it along or called it. If somebody has, wait for what becomes of it."""
        with self._lock:
            if ticket in self._pending and not ticket.has_turn:
                self._pending.remove(ticket)
                return True
        ticket.called.acquire()  # a commit ends: its database has its own timeouts
        return False

    def _commit_group(self) -> None:
        """Of whoever has the turn and those behind it."""
        group: list[_Ticket[Item, Answer]] = []

        def close() -> Sequence[Item]:
            group.extend(() if group else self._take_group())
            return [ticket.items[0] for ticket in group]

        try:
            for ticket, answer in zip(group, self._commit(close), strict=True):
                ticket.answer = answer
        except BaseException as err:  # noqa: BLE001 - every caller gets it
            close()
            for ticket in group:
                ticket.error = err
        self._pass_on()
        for ticket in group[1:]:
            ticket.called.release()

    def _take_group(self) -> list[_Ticket[Item, Answer]]:
        with self._lock:
            waiting = self._pending[: self._max_items]
            size = next((place for place, ticket in enumerate(waiting) if not ticket.items), len(waiting))
            del self._pending[:size]
            return waiting[:size]

    def _leave(self, ticket: _Ticket[Item, Answer]) -> None:
        with self._lock:
            self._pending.remove(ticket)
        self._pass_on()

    def _pass_on(self) -> None:
        """Give the turn to whoever waits longest."""
        with self._lock:
            self._is_taken = bool(self._pending)
            if self._pending:
                self._pending[0].has_turn = True
                self._pending[0].called.release()
