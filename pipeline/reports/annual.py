"""The year's use: searches by system, purpose and offence, and the matches that led on.

For AI Act art. 26(10) and Md. Crim. Proc. § 2-510.
"""

from collections.abc import Iterable, Sequence

from pipeline.reports.acts import Act
from pipeline.reports.kinds import count_kind, kinds_table, kinds_tally
from pipeline.reports.matches import SearchMatches, Verified
from pipeline.reports.report import Table
from pipeline.reports.tally import Key, Tally
from pipeline.types import Match
from pipeline.types.audit import AuditKind

TITLE = "Use of image search"
SUPPORTS = "AI Act art. 26(10), Md. Crim. Proc. § 2-510"
TO_WRITE = (
    "Age, race and gender of the persons whose matches led on. Pictor does not record them.",
    "Breaches and unauthorised uses. The command pictor audit review lists entries to look at.",
)


def annual_tables(acts: Iterable[tuple[Act, bool]]) -> Sequence[Table]:
    """Verifications count for the search that they are of, also when they came after the period."""
    kinds = kinds_tally()
    systems = Tally(
        named=("collection", "model", "purpose", "offence"),
        counted=("searches", "refused", "with hits", "to verify", "led on", "rejected", "disputed", "open"),
    )
    refusals = Tally(named=("reason",), counted=("searches",))
    authorised = Tally(named=("authorisation",), counted=("searches",))
    cases = Tally(named=("authority said",), counted=("cases",))
    matches, verifiable = SearchMatches(), list[tuple[Key, Sequence[Match]]]()
    for act, in_period in acts:
        matches.take(act, in_period=in_period)
        if not in_period:
            continue
        count_kind(kinds, act)
        if act.kind == AuditKind.AUTHORISATION:
            cases.add((act.outcome,), cases=1)
        if not act.is_search:
            continue
        key = (act.collection, act.model_fingerprint[:12], act.purpose, act.offence)
        systems.add(key, searches=1, refused=act.is_refused, with_hits=bool(act.candidates))
        authorised.add((act.authorisation,), searches=1)
        if act.is_refused:
            refusals.add((act.reason,), searches=1)
        if act.opens:
            verifiable.append((key, act.opens))
    for system, opened in verifiable:
        said = matches.of(opened)
        systems.add(
            system,
            to_verify=1,
            led_on=said is Verified.CONFIRMED,
            rejected=said is Verified.REJECTED,
            disputed=said is Verified.DISPUTED,
            open=said is Verified.OPEN,
        )
    return (
        kinds_table(kinds),
        systems.table(
            name="systems",
            title="Searches by system, purpose and offence",
            about="A search led on if persons confirmed one of its hits. The column to verify is the sum of "
            "the last four. A search is disputed if all of its hits are closed, none is confirmed, and the "
            "persons did not agree on one. A refused search names no model, since it reached none.",
        ),
        refusals.table(name="refusals", title="Refused searches by reason"),
        authorised.table(name="authorisations", title="Searches by kind of authorisation"),
        cases.table(name="cases", title="Decisions of authorities on cases"),
    )
