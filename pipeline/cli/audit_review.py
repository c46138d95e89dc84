"""`pictor audit review`: which entries to look at, and why."""

from pipeline import wiring_audit
from pipeline.cli.audit_options import AsJson, Since, Until
from pipeline.cli.output import note, write_json, write_table
from pipeline.reports.coverage import Period
from pipeline.service.access import local_caller
from pipeline.service.arguments import as_utc
from pipeline.settings import Settings

SHOWN = 8  # places of entries in a table; --json has more


def review(since: Since = None, until: Until = None, as_json: AsJson = False) -> None:
    """List what is worth a look: repeated pictures, searches at night, bursts, one purpose for all, hits that
    nobody verified and authorisations that are missing.

    Most of it has a good reason. The settings PICTOR_REVIEW_… say from when on something is listed. By
    default the period is the last 30 days.
    """
    from pipeline.service.audit_review import finding_json, review_log, usual_period

    settings = Settings.from_env()
    asked = Period(since=as_utc(since), until=as_utc(until)) if since or until else usual_period()
    with wiring_audit.open_audit_log(settings) as log:
        found = review_log(asked, wiring_audit.review_thresholds(settings), log, local_caller())
    if as_json:
        for finding in found.findings:
            write_json(finding_json(finding))
        return
    rows = [
        (finding.kind.value, finding.person, finding.words, _places(finding.entries))
        for finding in found.findings
    ]
    write_table(("look at", "person", "why", "entries"), rows)
    note(f"{len(rows)} things to look at, in {found.searched.in_period} entries of {found.period}")


def _places(entries: tuple[int, ...]) -> str:
    more = f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
    return ", ".join(map(str, entries[:SHOWN])) + more
