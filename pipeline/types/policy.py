"""What a collection may be searched for, by whom, and what a searcher states."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

CLOCK = timedelta(hours=48)  # AI Act 26(10): an authorisation is asked for within this time

LOCAL_ROLE = "local"  # of the user of this machine, who runs a command or asks a service without keys
BROKER_ROLE = "broker"  # of whoever may send tasks


class AuthorisationRule(StrEnum):
    """Whether a search needs somebody's authorisation, and when."""

    NONE = "none"
    EX_ANTE = "ex_ante"  # before the search
    WITHIN_48H = "48h"  # at the latest 48 hours after the first search for a case


class RefusalReason(StrEnum):
    """Why a search was refused. Closed: a new code is a change of the public contract."""

    ACCESS_DENIED = "access_denied"  # by the caller's own rights, whatever the policy says
    RECORDING_OFF = "recording_off"
    CALLER_NOT_ALLOWED = "caller_not_allowed"
    PURPOSE_MISSING = "purpose_missing"
    PURPOSE_NOT_ALLOWED = "purpose_not_allowed"
    CASE_MISSING = "case_missing"
    CASE_MALFORMED = "case_malformed"
    THRESHOLD_BELOW_FLOOR = "threshold_below_floor"
    K_ABOVE_MAXIMUM = "k_above_maximum"
    AUTHORISATION_MISSING = "authorisation_missing"
    AUTHORISATION_REFUSED = "authorisation_refused"
    AUTHORISATION_OVERDUE = "authorisation_overdue"


@dataclass(frozen=True, kw_only=True, slots=True)
class Purpose:
    """A searcher states the code. The text says what it stands for."""

    code: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionPolicy:
    """What is not allowed here is refused: with no purpose or no caller, nobody may search.

    `case_patterns` are described in `service.case_pattern`; with none, any case reference is taken.
    `keys` are ids of keys and `roles` names of roles: a caller of either may search.
    `faces` is true of a policy under which a collection of faces may be made.
    """

    purposes: tuple[Purpose, ...] = ()
    keys: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    case_required: bool = False
    case_patterns: tuple[str, ...] = ()
    min_score: float | None = None  # floor of the threshold, cosine -1..1
    min_similarity: float | None = None  # floor of the threshold, 0..100 by the calibration of the model
    max_k: int | None = None
    authorisation: AuthorisationRule = AuthorisationRule.NONE
    retention_days: int | None = None  # of the records of its searches; None: for ever
    verifications: int = 0  # persons, 0 to 2, who look at each match before it counts
    faces: bool = False

    @property
    def retention_class(self) -> str:
        """As records have it: `90d`, or "" for ever."""
        return "" if self.retention_days is None else f"{self.retention_days}d"


class PolicyState(StrEnum):
    PROPOSED = "proposed"  # it loosens the one in force, and waits for another person
    IN_FORCE = "in_force"
    REPLACED = "replaced"
    REFUSED = "refused"  # by the other person


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyVersion:
    """One version of the policy of a collection. Versions count from 1 and keep their text for ever.

    `replaces` is the version that was in force when this one was proposed; 0 for none. `loosens` names the
    fields that need a second person.
    """

    collection: str
    version: int
    policy: CollectionPolicy
    state: PolicyState
    replaces: int
    loosens: tuple[str, ...]
    proposed_by: str
    proposed_at: datetime
    decided_by: str = ""
    decided_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Justification:
    """Why somebody searches, as they state it."""

    purpose: str = ""  # a code
    case: str = ""
    offence: str = ""
    authorisation: str = ""  # reference of the document
    authority: str = ""  # whose document it is


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseClock:
    """The time within which a case in a collection needs its authorisation. It starts with the first search.

    `granted` is None until somebody has entered what the authority decided.
    """

    collection: str
    case: str
    started_at: datetime
    granted: bool | None = None
    authorisation: str = ""
    authority: str = ""
    decided_by: str = ""
    decided_at: datetime | None = None

    @property
    def ends_at(self) -> datetime:
        return self.started_at + CLOCK
