"""From when on something is worth a look. They are settings, for every house works differently."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from pipeline.errors import ConfigError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = "|".join(DAYS)
_HOURS = re.compile(rf"(?P<first>{_DAY})(-(?P<last>{_DAY}))? (?P<begins>[0-9]{{2}})-(?P<ends>[0-9]{{2}})")


@dataclass(frozen=True, kw_only=True, slots=True)
class OfficeHours:
    """`days` count from Monday, 0. `ends` is out; both are by the clock of `zone`."""

    days: frozenset[int]
    begins: time
    ends: time | None  # None is midnight
    zone: tzinfo

    def hold(self, at: datetime) -> bool:
        local = at.astimezone(self.zone)
        moment = local.time()
        return (
            local.weekday() in self.days
            and self.begins <= moment
            and (self.ends is None or moment < self.ends)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """Args: `repeats` and `burst` are numbers of searches by one person."""

    repeats: int  # of one probe
    hours: OfficeHours
    burst: int
    burst_within: timedelta
    purpose_share: float  # of one purpose in all searches of a person
    purpose_searches: int  # fewer searches than these say nothing about a share
    verify_within: timedelta  # hits that persons must look at


def read_hours(text: str, zone: str) -> OfficeHours:
    """`mon-fri 07-19`. Raises ConfigError, naming the setting."""
    found = _HOURS.fullmatch(text.strip().lower())
    begins, ends = (int(found["begins"]), int(found["ends"])) if found else (0, 0)
    if not found or not begins < ends <= 24:
        raise ConfigError(
            f"PICTOR_REVIEW_HOURS is {text[:40]!r}; days and hours such as mon-fri 07-19 are expected"
        )
    first, last = DAYS.index(found["first"]), DAYS.index(found["last"] or found["first"])
    days = frozenset((first + day) % 7 for day in range((last - first) % 7 + 1))
    return OfficeHours(
        days=days, begins=time(begins), ends=time(ends) if ends < 24 else None, zone=_zone(zone)
    )


def _zone(name: str) -> tzinfo:
    if name == "UTC":  # also where no data of time zones are installed
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as err:  # no name, a folder, none of this machine
        raise ConfigError(
            f"PICTOR_REVIEW_TIME_ZONE is {name[:40]!r}; a name such as Europe/Berlin is expected"
        ) from err
