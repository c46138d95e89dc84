"""The policies of the caller's collections, and the clocks of their cases."""

from dataclasses import replace
from datetime import datetime

from pipeline.ports import PolicyBook
from pipeline.service.confined.scope import Scope
from pipeline.types import CaseClock, PolicyState, PolicyVersion


class ConfinedPolicies:
    """Implements `ports.PolicyBook`. Collections bear the names that the caller knows."""

    def __init__(self, book: PolicyBook, scope: Scope) -> None:
        self._book = book
        self._scope = scope

    def in_force(self, collection: str) -> PolicyVersion | None:
        with self._scope.words():
            found = self._book.in_force(self._scope.stored(collection))
        return replace(found, collection=collection) if found else None

    def history(self, collection: str) -> list[PolicyVersion]:
        with self._scope.words():
            found = self._book.history(self._scope.stored(collection))
        return [replace(version, collection=collection) for version in found]

    def list_in_force(self) -> list[PolicyVersion]:
        named = ((self._scope.seen(version.collection), version) for version in self._book.list_in_force())
        return [replace(version, collection=name) for name, version in named if name is not None]

    def add(self, version: PolicyVersion) -> None:
        with self._scope.words():
            self._book.add(replace(version, collection=self._scope.stored(version.collection)))

    def decide(
        self, collection: str, version: int, state: PolicyState, *, decided_by: str, at: datetime
    ) -> PolicyVersion:
        stored = self._scope.stored(collection)
        with self._scope.words():
            decided = self._book.decide(stored, version, state, decided_by=decided_by, at=at)
        return replace(decided, collection=collection)

    def find_clock(self, collection: str, case: str) -> CaseClock | None:
        found = self._book.find_clock(self._scope.stored(collection), case)
        return replace(found, collection=collection) if found else None

    def start_clock(self, collection: str, case: str, at: datetime) -> CaseClock:
        started = self._book.start_clock(self._scope.stored(collection), case, at)
        return replace(started, collection=collection)

    def decide_case(self, clock: CaseClock) -> CaseClock:
        with self._scope.words():
            decided = self._book.decide_case(replace(clock, collection=self._scope.stored(clock.collection)))
        return replace(decided, collection=clock.collection)
