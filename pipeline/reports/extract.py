"""Each entry, for a supervisory authority: what was done, by whom, when and why. LED 2016/680 art. 25."""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.errors import ArgumentError
from pipeline.reports.acts import Act
from pipeline.reports.report import Cell, Table
from pipeline.reports.tally import Tally
from pipeline.types.audit import AuditKind, AuditOutcome

TITLE = "Extract of the log for a supervisory authority"
SUPPORTS = "Directive (EU) 2016/680 art. 25"
MAX_LISTED = 100_000  # entries, which are some 30 MB as a page

# The words of the article. What only administers the system is none of them.
OPERATIONS: Mapping[str, str] = {
    AuditKind.SEARCH: "consultation",
    AuditKind.VERIFICATION: "consultation",
    AuditKind.READ: "consultation of the log",
    AuditKind.EXPORT: "disclosure of the log",
    AuditKind.JOB: "collection or alteration",
    AuditKind.PERSON_CHANGE: "collection or alteration",
    AuditKind.COLLECTION_CHANGE: "collection or alteration",
    AuditKind.ERASURE: "erasure",
    "deletion": "erasure",
    AuditKind.POLICY_CHANGE: "administration",
    AuditKind.AUTHORISATION: "administration",
    AuditKind.KEY_CHANGE: "administration",
    AuditKind.NEW_LOG: "administration",
}
COLUMNS = (
    "entry", "began", "ended", "operation", "kind", "person", "role", "on behalf of", "agency", "purpose",
    "offence", "legal basis", "case", "collection", "decision", "hits", "outcome", "recipients", "record",
)  # fmt: skip


def extract_tables(acts: Iterable[tuple[Act, bool]], *, wanted: Mapping[str, str]) -> Sequence[Table]:
    """Args: `wanted` has what fields of an act must be. Others are counted alone.

    Raises:
        ArgumentError: more than `MAX_LISTED` entries.
    """
    operations = Tally(named=("operation",), counted=("entries", "listed", "left out"))
    rows: list[Sequence[Cell]] = []
    for act, in_period in acts:
        if not in_period:
            continue
        is_listed = all(getattr(act, name) == value for name, value in wanted.items())
        operations.add((operation_of(act),), entries=1, listed=is_listed, left_out=not is_listed)
        if is_listed:
            rows.append(_row(act))
        if len(rows) > MAX_LISTED:
            raise ArgumentError(
                f"the extract would have more than {MAX_LISTED} entries; ask for a shorter period, a person "
                "or a case"
            )
    return (
        operations.table(name="operations", title="Entries of the period by operation"),
        Table(name="entries", title="Entries", columns=COLUMNS, rows=rows),
    )


def operation_of(act: Act) -> str:
    return OPERATIONS.get(act.kind, "other")


def _row(act: Act) -> Sequence[Cell]:
    return (
        act.index,
        f"{act.started_at:%Y-%m-%d %H:%M:%S}",
        f"{act.ended_at:%Y-%m-%d %H:%M:%S}",
        operation_of(act),
        act.kind,
        act.actor,
        act.roles,
        act.on_behalf_of,
        act.agency,
        act.purpose,
        act.offence,
        act.legal_basis,
        act.case,
        act.collection,
        f"refused: {act.reason}" if act.is_refused else AuditOutcome.ALLOWED.value,
        len(act.candidates),
        act.outcome,
        ", ".join(act.recipients),
        act.record_id,
    )
