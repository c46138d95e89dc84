"""What persons made of the hits of a search, as far as entries say so."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.reports.acts import Act
from pipeline.types.audit import AuditKind

CONFIRM, REJECT = "confirm", "reject"


class Verified(StrEnum):
    """What became of a search."""

    NOT_ASKED = "not_asked"  # its policy wants nobody to look
    CONFIRMED = "confirmed"  # at least one of its hits: it led on
    REJECTED = "rejected"  # all that were decided, and the last one is
    OPEN = "open"


@dataclass(kw_only=True)
class Matches:
    """Takes verifications, in the order of the log. A person counts once for each hit."""

    _said: dict[tuple[str, int], dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def take(self, act: Act) -> None:
        if act.kind != AuditKind.VERIFICATION or len(act.refers_to) != 1:
            return
        for _, rank in act.candidates:
            for person, decision in act.verifiers:
                self._said[act.refers_to[0], rank].setdefault(person, decision)

    def of(self, search_id: str, ranks: Iterable[int], persons_needed: int) -> Verified:
        if not persons_needed:
            return Verified.NOT_ASKED
        said = [list(self._said.get((search_id, rank), {}).values()) for rank in ranks]
        if any(words.count(CONFIRM) >= persons_needed for words in said):
            return Verified.CONFIRMED
        if all(words.count(REJECT) >= persons_needed for words in said):
            return Verified.REJECTED
        return Verified.OPEN
