"""The matches to verify of a running service."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice

from pipeline.cli.running_service import RunningService
from pipeline.client import Pictor
from pipeline.types import MatchDecision

Fields = Mapping[str, object]


@contextmanager
def verifications_there(service: RunningService, person: str) -> Iterator["VerificationsThere"]:
    with service.connect() as pictor:
        yield VerificationsThere(pictor, person)


class VerificationsThere:
    """Args: `person` who decides, or "" for whoever holds the key."""

    def __init__(self, pictor: Pictor, person: str) -> None:
        self._pictor, self._person = pictor, person

    def list(self, collection: str, limit: int) -> Iterable[Fields]:
        found = self._pictor.list_verifications(collection=collection, page_items=limit)
        return [match.raw for match in islice(found, limit)]

    def show(self, match_id: str) -> Fields:
        return self._pictor.show_verification(match_id).raw

    def decide(self, match_id: str, decision: MatchDecision, reason: str) -> Fields:
        made = self._pictor.decide_verification(
            match_id, decision.value, reason=reason, on_behalf_of=self._person
        )
        return made.raw
