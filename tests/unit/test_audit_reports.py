"""Reports add up: whoever has the log can count them again."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import wiring_audit
from pipeline.errors import ArgumentError, AuditError, ConflictError, DeniedError, TransientError
from pipeline.evaluation.comparisons import compare_all
from pipeline.evaluation.error_rates import (
    DataCounts,
    ErrorRates,
    ErrorsAt,
    Method,
    ModelName,
    Rate,
    SubgroupErrors,
    error_rates_json,
)
from pipeline.evaluation.identification import enrol, measure_identification, search_all
from pipeline.evaluation.verification import measure_verification
from pipeline.reports.as_csv import report_csv, safe
from pipeline.reports.as_html import report_html
from pipeline.reports.as_json import report_json
from pipeline.reports.coverage import Period
from pipeline.reports.report import Report, Shape
from pipeline.service.access import Caller, local_caller, permissions_of
from pipeline.service.audit_reports import ReportFormat, Wanted, make_report, write_report
from pipeline.settings import Settings
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import (
    AuditKind,
    AuditOutcome,
    AuditRecord,
    Candidate,
    Decision,
    KeyRole,
    Probe,
    ReferenceDb,
    Verifier,
)
from tests.audit_records import NOON, erasure_of, search_by
from tests.unit.commands import Output, pictor
from tests.unit.evaluation_worlds import crowd

ME = local_caller()
YEAR = Period(since=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2027, 1, 1, tzinfo=UTC))
REFUSED = Decision(outcome=AuditOutcome.REFUSED, reason_code="purpose_unknown")
SPARE = re.compile(r"\s+")


def log_with(*records: AuditRecord) -> MemoryAuditLog:
    log = MemoryAuditLog()
    log.append(records)
    return log


def report_of(log: MemoryAuditLog, shape: Shape, caller: Caller = ME, **rest: Any) -> Report:
    return make_report(Wanted(shape=shape, **rest), log, caller)


def rows_of(report: Report, table: str) -> list[Mapping[str, Any]]:
    found: Any = report_json(report)
    rows: list[Mapping[str, Any]] = found["tables"][table]["rows"]
    return rows


def to_verify(persons: int = 1, hits: int = 1, **rest: Any) -> AuditRecord:
    candidates = tuple(Candidate(id=f"{rank:032}", score=0.9, rank=rank) for rank in range(1, hits + 1))
    details = {"verifications": persons}
    return search_by("ann", candidates=candidates, details=details, purpose_code="missing", **rest)


def said_of(
    search: AuditRecord, person: str, decision: str, *, rank: int = 1, minute: int = 5
) -> AuditRecord:
    record = search_by(person, minute=minute, refers_to=(search.record_id,))
    verifier = Verifier(id=person, time=NOON, decision=decision)
    candidates = tuple(hit for hit in search.candidates if hit.rank == rank)
    return replace(record, kind=AuditKind.VERIFICATION, candidates=candidates, verifiers=(verifier,))


# What a report is made of

acts = st.lists(
    st.tuples(
        st.sampled_from(["acme", "other"]),
        st.sampled_from([AuditKind.SEARCH, AuditKind.READ, AuditKind.POLICY_CHANGE, AuditKind.AUTHORISATION]),
        st.sampled_from(["ann", "bob"]),
        st.integers(0, 3),  # days before the first and after the last are out of the period
        st.booleans(),  # erased
        st.booleans(),  # refused
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60)
@given(acts, st.sampled_from(Shape))
def test_every_entry_of_the_tree_is_counted_once_whatever_became_of_it(
    made: Sequence[tuple[str, AuditKind, str, int, bool, bool]], shape: Shape
) -> None:
    log = MemoryAuditLog()
    period = Period(since=NOON + timedelta(days=1), until=NOON + timedelta(days=3))
    expected = 0
    for tenant, kind, person, day, is_erased, is_refused in made:
        at = NOON + timedelta(days=day)
        record = replace(search_by(person, tenant=tenant), kind=kind, started_at=at, ended_at=at)
        log.append([replace(record, decision=REFUSED) if is_refused else record])
        if is_erased:
            log.erase([record.record_id], erasure_of([record], tenant=tenant))
        expected += period.holds(at) and not is_erased and tenant == "acme"
    auditor = Caller(who="ada", permissions=permissions_of([KeyRole.AUDITOR]), tenant="acme")
    size = log.head().size
    report = report_of(log, shape, auditor, period=period)
    covered = report.covered
    assert covered.tree_size == report.log.size == size
    assert covered.in_period == expected
    assert covered.erased_near <= covered.erased
    for table in report.tables:
        if table.name in ("kinds", "keys", "operations"):
            column = list(table.columns).index("entries")
            assert sum(int(row[column] or 0) for row in table.rows) == expected
            assert table.total[column] == expected
    if shape is Shape.EXTRACT:
        assert len(rows_of(report, "entries")) == expected


def test_erased_entries_near_the_period_are_counted_though_they_have_no_date() -> None:
    days = [
        replace(search_by("ann"), started_at=(at := NOON + timedelta(days=day)), ended_at=at)
        for day in range(5)
    ]
    log = log_with(*days)
    log.erase(
        [days[day].record_id for day in (0, 2)],
        erasure_of(
            [days[0], days[2]],
        ),
    )
    of_day_2 = Period(since=NOON + timedelta(days=2), until=NOON + timedelta(days=3))
    covered = report_of(log, Shape.USAGE, period=of_day_2).covered
    assert (covered.in_period, covered.erased, covered.erased_near) == (0, 2, 1)


def test_a_report_names_the_signed_state_that_it_was_made_from_and_is_an_entry_after_it() -> None:
    log = log_with(search_by("ann"))
    head = log.head()
    report = report_of(log, Shape.EXTRACT, period=YEAR, filters={"actor": "ann"}, recipient="the DPA")
    assert (report.log.origin, report.log.size, report.log.checkpoint) == (
        "pictor.test/log",
        1,
        head.checkpoint,
    )
    (entry,) = list(log.entries())[1:]
    record = json.loads(entry.record or b"{}")
    assert (record["kind"], record["recipients"]) == ("export", ["the DPA"])
    assert record["details"]["report"] == "extract"
    assert record["details"]["query"] == {
        "actor": "ann",
        "since": "2026-01-01T00:00:00+00:00",
        "until": "2027-01-01T00:00:00+00:00",
    }


def test_no_report_without_its_entry() -> None:
    log = log_with(search_by("ann"))
    log.fail_next(TransientError("the disk is full"))
    with pytest.raises(AuditError):
        report_of(log, Shape.USAGE)
    with pytest.raises(ConflictError, match="no entry yet"):
        report_of(log_with(), Shape.USAGE)
    admin = Caller(who="root", permissions=permissions_of([KeyRole.ADMIN]))
    with pytest.raises(DeniedError):
        report_of(log, Shape.USAGE, admin)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(shape=Shape.USAGE, period=Period(since=NOON, until=NOON)), "before it begins"),
        (Wanted(shape=Shape.ANNUAL, filters={"case": "C-7"}), "case: only an extract"),
    ],
)
def test_what_a_report_cannot_have_is_said(wanted: Wanted, said: str) -> None:
    log = log_with(search_by("ann"))
    with pytest.raises(ArgumentError, match=said):
        make_report(wanted, log, ME)
    assert log.head().size == 1


# The year's use


def test_searches_are_counted_by_system_purpose_and_offence() -> None:
    log = log_with(
        search_by("ann", purpose_code="missing"),
        search_by("bob", purpose_code="missing", candidates=()),
        search_by("bob", purpose_code="theft", offence_code="242", decision=REFUSED, candidates=()),
        search_by("bob", purpose_code="missing", reference_db=ReferenceDb(collection="plates")),
    )
    report = report_of(log, Shape.ANNUAL, period=YEAR)
    found = [
        (row["collection"], row["purpose"], row["offence"], row["searches"], row["refused"], row["with hits"])
        for row in rows_of(report, "systems")
    ]
    assert found == [
        ("faces", "missing", "none", 2, 0, 1),
        ("faces", "theft", "242", 1, 1, 0),
        ("plates", "missing", "none", 1, 0, 1),
    ]
    assert rows_of(report, "refusals") == [{"reason": "purpose_unknown", "searches": 1}]
    assert report.covered.in_period == sum(row["entries"] for row in rows_of(report, "kinds")) == 4


@pytest.mark.parametrize(
    ("persons", "hits", "said", "outcome"),
    [
        (1, 1, [("bob", "confirm", 1)], "led on"),
        (1, 1, [("bob", "reject", 1)], "rejected"),
        (1, 1, [], "open"),
        (1, 1, [("bob", "cannot_tell", 1)], "open"),
        (2, 1, [("bob", "confirm", 1)], "open"),
        (2, 1, [("bob", "confirm", 1), ("bob", "confirm", 1)], "open"),
        (2, 1, [("bob", "confirm", 1), ("eve", "confirm", 1)], "led on"),
        (2, 1, [("bob", "confirm", 1), ("eve", "reject", 1)], "open"),
        (1, 2, [("bob", "reject", 1)], "open"),
        (1, 2, [("bob", "reject", 1), ("bob", "confirm", 2)], "led on"),
        (1, 2, [("bob", "reject", 1), ("bob", "reject", 2)], "rejected"),
        (1, 1, [("bob", "cannot_tell", 1), ("eve", "cannot_tell", 1)], "disputed"),
        (2, 1, [("bob", "confirm", 1), ("eve", "reject", 1), ("dan", "cannot_tell", 1)], "disputed"),
    ],
)
def test_a_match_that_persons_confirm_leads_on(
    persons: int, hits: int, said: Sequence[tuple[str, str, int]], outcome: str
) -> None:
    search = to_verify(persons, hits)
    log = log_with(search, *(said_of(search, who, what, rank=rank) for who, what, rank in said))
    (row,) = rows_of(report_of(log, Shape.ANNUAL), "systems")
    assert {name: row[name] for name in ("to verify", "led on", "rejected", "disputed", "open")} == {
        "to verify": 1, "led on": 0, "rejected": 0, "disputed": 0, "open": 0,
    } | {outcome: 1}  # fmt: skip


def test_a_verification_counts_for_its_search_although_it_came_after_the_period() -> None:
    search = to_verify()
    log = log_with(search, said_of(search, "bob", "confirm", minute=60))
    (row,) = rows_of(
        report_of(log, Shape.ANNUAL, period=Period(until=NOON + timedelta(minutes=1))), "systems"
    )
    assert (row["searches"], row["led on"]) == (1, 1)


# The other shapes


def test_an_extract_lists_what_is_asked_for_and_counts_the_rest() -> None:
    log = log_with(
        search_by("ann", case_ref="C-7", purpose_code="missing"),
        search_by("bob", minute=1, recipients=("court",)),
        replace(search_by("root", minute=2), kind=AuditKind.POLICY_CHANGE),
    )
    report = report_of(log, Shape.EXTRACT, filters={"case": "C-7"})
    (row,) = rows_of(report, "entries")
    assert (row["entry"], row["person"], row["operation"], row["purpose"]) == (
        0,
        "ann",
        "consultation",
        "missing",
    )
    operations = {row["operation"]: row for row in rows_of(report, "operations")}
    assert (operations["consultation"]["listed"], operations["consultation"]["left out"]) == (1, 1)
    assert operations["administration"]["entries"] == 1


def test_a_kind_that_comes_later_is_listed_and_counted() -> None:
    log = log_with(search_by("ann"))
    later = replace(next(iter(log.entries())), record=(next(iter(log.entries())).record or b"").replace(
        b'"kind":"search"', b'"kind":"transfer"'
    ))  # fmt: skip
    log._entries[0] = later
    report = report_of(log, Shape.EXTRACT)
    assert [(row["kind"], row["operation"]) for row in rows_of(report, "entries")] == [("transfer", "other")]


def test_use_is_counted_by_key() -> None:
    log = log_with(
        search_by("ann (k1)", on_behalf_of="eve"),
        search_by("ann (k1)", minute=9, decision=REFUSED, candidates=()),
        replace(search_by("bob"), kind=AuditKind.READ),
    )
    ann, bob = rows_of(report_of(log, Shape.USAGE), "keys")
    assert (ann["key or person"], ann["entries"], ann["searches"], ann["refused"]) == ("ann (k1)", 2, 2, 1)
    assert (ann["persons named"], ann["first"], ann["last"]) == (1, "2026-11-27 12:00", "2026-11-27 12:09")
    assert (bob["reads"], bob["searches"]) == (1, 0)


def measured() -> ErrorRates:
    """Of 25 persons, one of whom is a subgroup of their own."""
    labelled = crowd(1, persons=25)
    compared = compare_all(labelled)
    searches = search_all(labelled, enrol(labelled, not_enrolled_share=0.3, seed=0))
    verification = measure_verification(labelled, compared, at=[0.5])
    identification = measure_identification(labelled, searches, [0.5], failed_mated={})
    none = Rate(errors=0, trials=0, estimate=None, low=None, high=None, method="none")
    alone = SubgroupErrors(
        column="sex",
        value="female",
        persons=1,
        images=3,
        failure_to_acquire=none,
        verification=[ErrorsAt(threshold=0.5, similarity=None, fmr=none, fnmr=none)],
        identification=[],
    )
    return ErrorRates(
        made_at="2026-11-27T12:00:00Z",
        pictor="0.1.0",
        model=ModelName(name="m", address="m.toml", architecture="a", fingerprint="f0" * 32),
        calibration="",
        data=DataCounts(
            source="faces",
            description="door cameras",
            persons=25,
            persons_not_enrolled=0,
            images=76,
            failed=1,
            failures=[],
            failure_to_acquire=none,
            failure_to_enrol=none,
            unlabelled=0,
            several_views=0,
        ),
        method=Method(
            seed=0,
            not_enrolled_share=0.3,
            confidence=0.95,
            replicates=1000,
            resolution=1e-4,
            failed_images="counted as misses",
        ),
        verification=verification,
        identification=identification,
        subgroups=[alone],
    )


def test_measured_error_rates_are_reported_for_all_and_for_each_subgroup() -> None:
    rates = measured()
    report = report_of(log_with(search_by("ann")), Shape.ACCOUNTABILITY, rates=rates)
    (at,) = [at for at in rates.identification.thresholds if at.threshold is not None]
    assert at.fpir is not None
    assert at.fpir.estimate is not None
    searched = rows_of(report, "search_errors")
    false_positives = [row for row in searched if row["error"] == "false positive (FPIR)"]
    assert [(row["subgroup"], row["errors"], row["trials"], row["%"]) for row in false_positives] == [
        ("all", at.fpir.errors, at.fpir.trials, round(100 * at.fpir.estimate, 4))
    ]
    compared = {(row["subgroup"], row["error"]): row["%"] for row in rows_of(report, "comparison_errors")}
    assert compared["sex female", "false match (FMR)"] == "not measured"
    assert {"fact": "description", "value": "door cameras"} in rows_of(report, "testing")


def test_without_a_measurement_a_report_says_so() -> None:
    report = report_of(log_with(search_by("ann")), Shape.ACCOUNTABILITY)
    about = {table.name: table.about for table in report.tables}
    assert about["testing"].startswith("Not measured.")
    assert about["search_errors"].startswith("Not measured.")
    with pytest.raises(ArgumentError, match="accountability report alone"):
        report_of(log_with(search_by("ann")), Shape.USAGE, rates=measured())


# How it is written

EVIL = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\u00a0=1", "%0", '=HYPERLINK("http://x";"y")']


@pytest.mark.parametrize("text", EVIL)
def test_no_text_of_a_csv_is_a_formula(text: str) -> None:
    log = log_with(search_by(text, purpose_code=text, case_ref=text, agency=text, on_behalf_of=text))
    lines = list(csv.reader(io.StringIO(report_csv(report_of(log, Shape.EXTRACT, filters={"actor": text})))))
    cells = [cell for line in lines for cell in line]
    assert any(cell == f"'{text}" for cell in cells)
    assert not any(cell.lstrip().startswith(("=", "+", "@", "%")) for cell in cells)


def test_numbers_of_a_csv_stay_numbers() -> None:
    assert [safe(-1), safe(0.5), safe(None), safe("-")] == [-1, 0.5, "", "'-"]


class Page(HTMLParser):
    """Cells of tables, and everything that could reach out of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.reaches_out, self.cells = set[str](), list[str](), list[str]()
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.reaches_out += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "action")]
        self._in_cell = tag == "td"
        if self._in_cell:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells[-1] += data


@pytest.mark.parametrize("shape", Shape)
def test_a_page_has_no_script_reaches_nowhere_and_shows_names_as_text(shape: Shape) -> None:
    name = "<script>alert(1)</script>\n&\x1b[31m"
    log = log_with(search_by(name, purpose_code=name, offence_code=name))
    text = report_html(report_of(log, shape))
    page = Page(text)
    assert page.reaches_out == []
    assert not page.tags & {"script", "img", "link", "iframe", "object", "form"}
    assert "url(" not in text
    assert "@import" not in text
    assert any(r"<script>alert(1)</script>\n&\x1b[31m" in cell for cell in page.cells)


@pytest.mark.parametrize("shape", Shape)
def test_the_three_forms_say_the_same(shape: Shape) -> None:
    search = to_verify()
    log = log_with(search, said_of(search, "bob", "confirm"), search_by("eve", minute=7, decision=REFUSED))
    report = report_of(log, shape, period=YEAR)
    page = Page(report_html(report))
    as_csv = list(csv.reader(io.StringIO(report_csv(report))))
    as_json = json.loads(write_report(report, ReportFormat.JSON))
    for table in report.tables:
        for row in table.rows:
            shown = ["" if cell is None else str(cell) for cell in row]
            assert [str(safe(cell)) for cell in row] in as_csv
            assert set(shown) <= set(page.cells)
        assert len(as_json["tables"][table.name]["rows"]) == len(table.rows)
    assert ["Entries of the log", str(report.log.size)] in as_csv
    assert report.log.checkpoint in report_html(report)


# The command


@pytest.fixture
def audit(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        log.append([search_by("ann"), search_by("bob", probe=Probe(source="vector"))])
    return lambda *words: pictor(monkeypatch, "audit", "report", *map(str, words))


def test_the_command_writes_each_form_by_the_name_of_its_file(
    audit: Callable[..., int], tmp_path: Path, capsys: Output
) -> None:
    for name, begins in {"r.html": "<!doctype html>", "r.csv": '"Report"', "r.json": "{"}.items():
        assert audit("annual", "--year", 2026, "--out", tmp_path / name) == 0
        assert (tmp_path / name).read_text().startswith(begins)
    (tmp_path / "rates.json").write_text(json.dumps(error_rates_json(measured())))
    assert audit("accountability", "--rates", tmp_path / "rates.json", "--out", tmp_path / "r.csv") == 0
    assert "false positive (FPIR)" in (tmp_path / "r.csv").read_text()
    capsys.readouterr()
    assert audit("usage") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["report"], said["entries"]["in_period"]) == ("usage", 6)


@pytest.mark.parametrize(
    "words",
    [
        ("annual", "--out", "report.pdf"),
        ("annual", "--year", "2026", "--from", "2026-01-01"),
        ("annual", "--case", "C-7"),
        ("accountability", "--rates", "none.json"),
        ("rumours",),
    ],
)
def test_what_the_command_cannot_do_is_said(audit: Callable[..., int], words: Sequence[str]) -> None:
    assert audit(*words) == 2
