"""PolicyBook in memory: the fake of tests. It passes the contract tests of the real one."""

from dataclasses import replace
from datetime import datetime
from threading import RLock

from pipeline.errors import ConflictError, NotFoundError
from pipeline.types import CaseClock, PolicyState, PolicyVersion


class MemoryPolicyBook:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, int], PolicyVersion] = {}
        self._clocks: dict[tuple[str, str], CaseClock] = {}
        self._lock = RLock()

    def in_force(self, collection: str) -> PolicyVersion | None:
        return self._in_state(collection, PolicyState.IN_FORCE)

    def history(self, collection: str) -> list[PolicyVersion]:
        with self._lock:
            mine = [version for (name, _), version in self._versions.items() if name == collection]
        return sorted(mine, key=lambda version: version.version, reverse=True)

    def list_in_force(self) -> list[PolicyVersion]:
        with self._lock:
            found = [v for v in self._versions.values() if v.state is PolicyState.IN_FORCE]
        return sorted(found, key=lambda version: version.collection)

    def add(self, version: PolicyVersion) -> None:
        place = version.collection, version.version
        with self._lock:
            if self._versions.get(place) == version:
                return
            current = self.in_force(version.collection)
            if place in self._versions or (current.version if current else 0) != version.replaces:
                raise ConflictError(f"somebody else has changed the policy of {version.collection!r}")
            self._end(version.collection, PolicyState.PROPOSED)
            if version.state is PolicyState.IN_FORCE:
                self._end(version.collection, PolicyState.IN_FORCE)
            self._versions[place] = version

    def decide(
        self, collection: str, version: int, state: PolicyState, *, decided_by: str, at: datetime
    ) -> PolicyVersion:
        with self._lock:
            found = self._versions.get((collection, version))
            if found is None:
                raise NotFoundError(f"collection {collection!r} has no version {version} of a policy")
            if (found.state, found.decided_by) == (state, decided_by):
                return found
            if found.state is not PolicyState.PROPOSED:
                raise ConflictError(f"version {version} of the policy of {collection!r} is {found.state}")
            if state is PolicyState.IN_FORCE:
                self._end(collection, PolicyState.IN_FORCE)
            decided = replace(found, state=state, decided_by=decided_by, decided_at=at)
            self._versions[collection, version] = decided
            return decided

    def find_clock(self, collection: str, case: str) -> CaseClock | None:
        with self._lock:
            return self._clocks.get((collection, case))

    def start_clock(self, collection: str, case: str, at: datetime) -> CaseClock:
        first = CaseClock(collection=collection, case=case, started_at=at)
        with self._lock:
            return self._clocks.setdefault((collection, case), first)

    def decide_case(self, clock: CaseClock) -> CaseClock:
        with self._lock:
            found = self.start_clock(clock.collection, clock.case, clock.started_at)
            if found.granted is None:
                found = replace(clock, started_at=found.started_at)
                self._clocks[clock.collection, clock.case] = found
            entered = (found.granted, found.authorisation, found.authority)
            if entered != (clock.granted, clock.authorisation, clock.authority):
                said = "granted" if found.granted else "refused"
                raise ConflictError(f"case {clock.case!r} was {said} by {found.authority}")
            return found

    def _in_state(self, collection: str, state: PolicyState) -> PolicyVersion | None:
        return next((version for version in self.history(collection) if version.state is state), None)

    def _end(self, collection: str, state: PolicyState) -> None:
        if found := self._in_state(collection, state):
            self._versions[collection, found.version] = replace(found, state=PolicyState.REPLACED)
