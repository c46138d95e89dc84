"""When a request is sent again, and after which pause."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

NOTHING_BEGUN = frozenset({429})  # turned away at the door
LATER = frozenset({502, 503, 504})
CONFLICT = 409


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """`attempts` counts the first one, too. A service that asks for a longer pause than this is an error."""

    attempts: int = 5
    first_wait_s: float = 0.25  # doubled each time; the pause is drawn from 0 to that
    longest_wait_s: float = 30.0

    def wait_s(self, attempt: int, *, retry_after: str = "") -> float | None:
        """The pause after this attempt, counted from 1; None to give up.

        Args:
            retry_after: the header of the answer; seconds or a date. Nobody comes back earlier.
        """
        if attempt >= self.attempts:
            return None
        # Drawn anew: those who were turned away together must not come back together.
        spread_s = random.uniform(0, min(self.first_wait_s * 2 ** (attempt - 1), self.longest_wait_s))  # noqa: S311
        wait_s = _seconds_of(retry_after) + spread_s
        return wait_s if wait_s <= self.longest_wait_s + spread_s else None


def may_repeat(status: int, *, is_repeatable: bool, retry_after: str = "") -> bool:
    """Whether a request with this answer may be sent again.

    Args:
        retry_after: a conflict that has it passes: the same request is still being worked on.
    """
    is_later = status in LATER or (status == CONFLICT and bool(retry_after))
    return status in NOTHING_BEGUN or (is_repeatable and is_later)


def _seconds_of(retry_after: str) -> float:
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
