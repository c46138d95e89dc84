"""The accountability report of RCW 43.386.020(2), (a) to (h), as far as a log can give it."""

from collections.abc import Iterable, Sequence

from pipeline.evaluation.error_rates import ErrorRates
from pipeline.reports.acts import Act
from pipeline.reports.kinds import count_kind, kinds_table, kinds_tally
from pipeline.reports.rates import rates_tables
from pipeline.reports.report import Cell, Table
from pipeline.reports.tally import Tally
from pipeline.types.audit import AuditKind

TITLE = "Accountability report"
SUPPORTS = "RCW 43.386.020(2)"
TO_WRITE = (
    "(a) The vendor, and what the service can do beyond what you use.",
    "(c) How a decision is made from a search, and by whom.",
    "(d) Who may see data, how staff are trained, and with whom data are shared.",
    "(e) How you tested the system under the conditions of its use.",
    "(g) What the use does to civil rights, and how you reduce that.",
    "(h) Where the public can ask and complain, and how you answer.",
)
STORED = "a stored image"
UPLOADED = {"upload": "a picture that came with the search", "vector": "a vector", "text": "words"}


def accountability_tables(acts: Iterable[tuple[Act, bool]], *, rates: ErrorRates | None) -> Sequence[Table]:
    kinds = kinds_tally()
    systems = Tally(named=("software", "collection", "model"), counted=("searches",))
    inputs = Tally(named=("searched with",), counted=("searches",))
    purposes = Tally(
        named=("purpose", "retention class"), counted=("searches", "refused", "with hits", "to verify")
    )
    changes, erasures = list[Sequence[Cell]](), list[Sequence[Cell]]()
    for act, in_period in acts:
        if not in_period:
            continue
        count_kind(kinds, act)
        if act.is_search:
            systems.add((act.software_version, act.collection, act.model_fingerprint[:12]), searches=1)
            inputs.add((UPLOADED.get(act.probe_source, STORED),), searches=1)
            purposes.add(
                (act.purpose, act.retention_class),
                searches=1,
                refused=act.is_refused,
                with_hits=bool(act.candidates),
                to_verify=bool(act.opens),
            )
        elif act.kind == AuditKind.POLICY_CHANGE:
            changes.append(_change(act))
        elif act.kind == AuditKind.ERASURE:
            erasures.append((act.index, _day(act), act.actor, len(act.refers_to), _said(act, "reason")))
    return (
        kinds_table(kinds),
        systems.table(name="systems", title="(a) Versions and models"),
        inputs.table(name="inputs", title="(b) What was searched with"),
        purposes.table(
            name="purposes",
            title="(c) Purposes",
            about="To verify are searches whose hits persons must look at.",
        ),
        Table(
            name="policies",
            title="(d) Changes of policies",
            columns=("entry", "day", "collection", "version", "state", "by", "proposed by", "looser in"),
            rows=changes,
        ),
        Table(
            name="erasures",
            title="(d) Erasures of records",
            columns=("entry", "day", "by", "records", "reason"),
            rows=erasures,
            total=("total", "", "", sum(int(row[3] or 0) for row in erasures), ""),
        ),
        *rates_tables(rates),
    )


def _change(act: Act) -> Sequence[Cell]:
    looser = act.details.get("loosens")
    return (
        act.index,
        _day(act),
        act.collection,
        _said(act, "version"),
        act.outcome,
        act.actor,
        _said(act, "proposed_by"),
        ", ".join(map(str, looser)) if isinstance(looser, list) else "",
    )


def _day(act: Act) -> str:
    return f"{act.started_at:%Y-%m-%d}"


def _said(act: Act, name: str) -> str:
    return str(act.details.get(name, ""))
