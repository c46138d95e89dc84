"""One commit for all threads that wait: whoever gets the turn takes the others' items along."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pipeline.errors import TransientError

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Result = TypeVar("Result")


class _Ticket(Generic[Item, Answer]):
    def __init__(self, item: Item) -> None:
        self.item = item
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.is_settled = False


class GroupCommit(Generic[Item, Answer]):
    """Safe to share between threads.

    Args:
        commit: takes items of several callers and answers each; what it raises, every one of them gets.
        max_items: of one commit.
        wait_s: for the turn.
    """

    def __init__(
        self, commit: Callable[[Sequence[Item]], Sequence[Answer]], *, max_items: int, wait_s: float
    ) -> None:
        self._commit, self._max_items, self._wait_s = commit, max_items, wait_s
        self._turn = threading.Lock()
        self._pending: list[_Ticket[Item, Answer]] = []
        self._pending_lock = threading.Lock()

    def submit(self, item: Item) -> Answer:
        """Raises TransientError when the turn does not come in time; the item is then not committed."""
        ticket: _Ticket[Item, Answer] = _Ticket(item)
        with self._pending_lock:
            self._pending.append(ticket)
        if not self._turn.acquire(timeout=self._wait_s) and self._withdraw(ticket):
            raise TransientError(f"the log did not take an entry within {self._wait_s:g} s")
        try:
            while not ticket.is_settled:  # more wait than one commit takes
                self._commit_group()
        finally:
            self._turn.release()
        if ticket.error is not None:
            raise ticket.error
        assert ticket.answer is not None
        return ticket.answer

    def alone(self, work: Callable[[], Result]) -> Result:
        """Do something between two commits. Raises TransientError as `submit` does."""
        if not self._turn.acquire(timeout=self._wait_s):
            raise TransientError(f"the log was busy for more than {self._wait_s:g} s")
        try:
            return work()
        finally:
            self._turn.release()

    def _withdraw(self, ticket: _Ticket[Item, Answer]) -> bool:
        """Whether nobody has taken it along. If somebody has, wait for what becomes of it, with the turn."""
        with self._pending_lock:
            if ticket in self._pending:
                self._pending.remove(ticket)
                return True
        self._turn.acquire()  # a commit ends: its database has its own timeouts
        return False

    def _commit_group(self) -> None:
        with self._pending_lock:
            group = self._pending[: self._max_items]
            del self._pending[: self._max_items]
        try:
            answers = self._commit([ticket.item for ticket in group])
            for ticket, answer in zip(group, answers, strict=True):
                ticket.answer = answer
        except BaseException as err:  # noqa: BLE001 - every caller gets it
            for ticket in group:
                ticket.error = err
        for ticket in group:
            ticket.is_settled = True
