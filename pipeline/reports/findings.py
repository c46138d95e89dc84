"""What a reviewer may want to look at. Nothing here is called misuse: most of it has a good reason."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pipeline.reports.acts import Act
from pipeline.reports.matches import SearchMatches, Verified
from pipeline.reports.thresholds import Thresholds
from pipeline.types.audit import AuditKind

WITHIN_48H = "48h"


class FindingKind(StrEnum):
    REPEATED = "repeated_probe"
    OFF_HOURS = "off_hours"
    BURST = "burst"
    ONE_PURPOSE = "one_purpose"
    NOT_VERIFIED = "not_verified"
    NOT_AUTHORISED = "not_authorised"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Entries to look at, by their places in the log. `person` is empty where it is about a case."""

    kind: FindingKind
    person: str
    words: str
    entries: tuple[int, ...]


def person_of(act: Act) -> str:
    """Who searched: on whose behalf, or else who holds the key. Somebody with two keys is one person."""
    return act.on_behalf_of or act.actor.rpartition(" (")[0] or act.actor


def find_all(
    acts: Iterable[tuple[Act, bool]], thresholds: Thresholds, now: datetime, *, most: int
) -> Sequence[Finding]:
    """What the searches of a period show.

    Args:
        acts: with whether each is in the period. Those outside count as answers to it, such as verifications.
        most: searches that are kept at once.

    Raises:
        OverflowError: there are more.
    """
    searches, matches, granted = list[Act](), SearchMatches(), set[tuple[str, str]]()
    for act, in_period in acts:
        matches.take(act, in_period=in_period)
        if act.kind == AuditKind.AUTHORISATION and act.granted:
            granted.add((act.collection, act.case))
        if act.is_search and in_period:
            searches.append(act)
        if len(searches) > most:
            raise OverflowError
    by_person = _grouped(searches)
    return [
        *repeated_probes(by_person, thresholds),
        *off_hours(by_person, thresholds),
        *bursts(by_person, thresholds),
        *one_purpose(by_person, thresholds),
        *not_verified(by_person, matches, thresholds, now),
        *not_authorised(searches, granted, now),
    ]


def repeated_probes(by_person: Mapping[str, Sequence[Act]], thresholds: Thresholds) -> Iterator[Finding]:
    for person, searches in by_person.items():
        of_probe = defaultdict[str, list[Act]](list)
        for search in searches:
            if search.probe:
                of_probe[search.probe].append(search)
        for probe, same in of_probe.items():
            if len(same) >= thresholds.repeats:
                words = f"searched {len(same)} times with one picture ({probe[:12]})"
                yield _finding(FindingKind.REPEATED, person, words, same)


def off_hours(by_person: Mapping[str, Sequence[Act]], thresholds: Thresholds) -> Iterator[Finding]:
    for person, searches in by_person.items():
        outside = [search for search in searches if not thresholds.hours.hold(search.started_at)]
        if outside:
            words = f"{_searches(outside)} of {len(searches)} outside the hours of work"
            yield _finding(FindingKind.OFF_HOURS, person, words, outside)


def bursts(by_person: Mapping[str, Sequence[Act]], thresholds: Thresholds) -> Iterator[Finding]:
    """Runs of searches in which each stands among `burst` ones that came within the time."""
    minutes = thresholds.burst_within.total_seconds() / 60
    for person, searches in by_person.items():
        for run in _runs(sorted(searches, key=lambda search: search.started_at), thresholds):
            words = f"{_searches(run)}, at least {thresholds.burst} of them within {minutes:g} minutes"
            yield _finding(FindingKind.BURST, person, words, run)


def one_purpose(by_person: Mapping[str, Sequence[Act]], thresholds: Thresholds) -> Iterator[Finding]:
    for person, searches in by_person.items():
        if len(searches) < thresholds.purpose_searches:
            continue
        (purpose, count), *_ = Counter(search.purpose for search in searches).most_common(1)
        if count >= thresholds.purpose_share * len(searches):
            same = [search for search in searches if search.purpose == purpose]
            named = f"the purpose {purpose!r}" if purpose else "no purpose"
            words = f"stated {named} in {count} of {len(searches)} searches"
            yield _finding(FindingKind.ONE_PURPOSE, person, words, same)


def not_verified(
    by_person: Mapping[str, Sequence[Act]], matches: SearchMatches, thresholds: Thresholds, now: datetime
) -> Iterator[Finding]:
    for person, searches in by_person.items():
        waiting = [
            search
            for search in searches
            if now - search.ended_at > thresholds.verify_within and matches.of(search.opens) is Verified.OPEN
        ]
        if waiting:
            days = thresholds.verify_within.days
            words = f"{_searches(waiting)} whose hits nobody has decided over in {days} days"
            yield _finding(FindingKind.NOT_VERIFIED, person, words, waiting)


def not_authorised(
    searches: Iterable[Act], granted: set[tuple[str, str]], now: datetime
) -> Iterator[Finding]:
    of_case = defaultdict[tuple[str, str], list[Act]](list)
    for search in searches:
        is_late = search.expires_at is not None and search.expires_at < now
        if search.authorisation == WITHIN_48H and not search.granted and is_late:
            of_case[search.collection, search.case].append(search)
    for (collection, case), same in of_case.items():
        if (collection, case) not in granted:
            words = f"case {case} in {collection}: {_searches(same)}, and no authorisation within 48 hours"
            yield _finding(FindingKind.NOT_AUTHORISED, "", words, same)


def _runs(searches: Sequence[Act], thresholds: Thresholds) -> Iterator[Sequence[Act]]:
    """Args: `searches` are in the order of their time."""
    first, begin, end = 0, 0, -1  # of the window, and of the run that is open
    for last, search in enumerate(searches):
        while search.started_at - searches[first].started_at > thresholds.burst_within:
            first += 1
        if last - first + 1 < thresholds.burst:
            continue
        if first > end:
            if end >= 0:
                yield searches[begin : end + 1]
            begin = first
        end = last
    if end >= 0:
        yield searches[begin : end + 1]


def _grouped(searches: Iterable[Act]) -> Mapping[str, Sequence[Act]]:
    by_person = defaultdict[str, list[Act]](list)
    for search in searches:
        by_person[person_of(search)].append(search)
    return dict(sorted(by_person.items()))


def _finding(kind: FindingKind, person: str, words: str, searches: Sequence[Act]) -> Finding:
    entries = tuple(sorted(search.index for search in searches))
    return Finding(kind=kind, person=person, words=words, entries=entries)


def _searches(searches: Sequence[Act]) -> str:
    return "1 search" if len(searches) == 1 else f"{len(searches)} searches"
