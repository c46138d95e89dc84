"""Whatever is done to a log is found, and the first entry that is concerned is named."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipeline.adapters.folder.store import FolderStore
from pipeline.adapters.ledger.sql_audit_log import SqlAuditLog, open_audit_log
from pipeline.audit.checkpoint import NamedCheckpoint, parse_checkpoint
from pipeline.audit.faults import Fault
from pipeline.audit.note import SigningKey
from pipeline.audit.place import Place, read_checkpoints
from pipeline.audit.publisher import Publisher
from pipeline.audit.records import commit
from pipeline.audit.verify import Verified, verify_log
from pipeline.errors import FatalError
from tests.audit_records import erasure_of, search_by
from tests.verifications import decision_on, search_to_verify

KEY = SigningKey.generate("pictor.test/log")
RECORDS = [search_by(f"p{number}", minute=number) for number in range(600)]
LAST_WEEK = 300  # entries
COPY_OF_5 = (
    "INSERT INTO audit_entry SELECT ?, 'new', commitment, salt, record, kind, actor, tenant, collection, "
    "purpose_code, case_ref, probe_sha256, started_at FROM audit_entry WHERE entry_index = 5"
)


@dataclass(frozen=True, kw_only=True)
class World:
    """A ledger, the folder of its tiles, and a second one for checkpoints."""

    folder: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/ledger.db"

    def place(self, name: str) -> Place:
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return Place(store=FolderStore(), bucket=str(path), prefix="", url=f"{name}/")

    def open(self) -> SqlAuditLog:
        return open_audit_log(self.url, KEY)

    def publish(self, log: SqlAuditLog) -> None:
        places = {"tiles": self.place("tiles"), "copies": [self.place("copies")]}
        Publisher(log, KEY.verifier, **places).publish()  # type: ignore[arg-type]

    def sql(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.folder / "ledger.db")) as connection, connection:
            connection.execute(statement, values)

    def verify(self, *, since: str = "") -> Verified:
        others = read_checkpoints(self.place("copies"), KEY.verifier)
        start = NamedCheckpoint(name="since", checkpoint=parse_checkpoint(since)) if since else None
        with self.open() as log:
            return verify_log(log, KEY.verifier, place=self.place("tiles"), others=others, since=start)

    def first_fault(self) -> Fault:
        return self.verify().faults[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 entries; last week's ledger had 300 of them, and is kept as `last_week.db`."""
    world = World(folder=tmp_path_factory.mktemp("log"))
    with world.open() as log:
        log.append(RECORDS[:LAST_WEEK])
        world.publish(log)
    shutil.copy(world.folder / "ledger.db", world.folder / "last_week.db")
    with world.open() as log:
        log.append(RECORDS[LAST_WEEK:])
        world.publish(log)
    return world.folder


@pytest.fixture
def world(made: Path, tmp_path: Path) -> World:
    shutil.copytree(made, tmp_path / "copy")
    return World(folder=tmp_path / "copy")


def test_a_sound_log_has_no_faults_and_all_of_it_is_looked_at(world: World) -> None:
    found = world.verify()
    assert found.faults == ()
    assert (found.size, found.entries, found.erased) == (600, 600, 0)
    kept, published_full, published_partial, bundles = 2, 2, 2, 3
    assert found.tiles == kept + published_full + published_partial + bundles
    assert found.checkpoints == 4  # the ledger's, the published, the copy and the copy of the day


def test_only_what_came_after_a_checkpoint_is_verified_when_that_is_asked(world: World) -> None:
    with world.open() as log:
        since = log.head().checkpoint
        log.append([search_by("ann")])
    world.sql("UPDATE audit_entry SET record = '{}' WHERE entry_index = 7")
    found = world.verify(since=since)
    assert (found.entries, found.size, found.faults) == (1, 601, ())


def test_a_changed_record_is_named(world: World) -> None:
    world.sql("UPDATE audit_entry SET record = replace(record, 'p17', 'p18') WHERE entry_index = 17")
    assert world.first_fault() == Fault(index=17, text="entry 17: its record does not match its commitment")


@pytest.mark.parametrize("index", [17, 599])  # in a full tile, and at the end
@pytest.mark.parametrize("old", [b"faces", b'"kind":"search",', b"{"])  # other, cut, and no JSON
def test_a_changed_record_with_a_new_commitment_is_named(world: World, index: int, old: bytes) -> None:
    with world.open() as log:
        forged = (log.get(RECORDS[index].record_id).record or b"").replace(old, b"")
    salt = bytes(32)
    world.sql(
        "UPDATE audit_entry SET record = ?, salt = ?, commitment = ?, collection = '' WHERE entry_index = ?",
        *(forged, salt, commit(salt, forged), index),
    )
    faults = world.verify().faults
    assert [fault for fault in faults if fault.index is not None and fault.index != index] == []
    assert any(f"is not that of entry {index}" in fault.text for fault in faults)


def test_a_copy_that_says_other_than_its_record_is_named(world: World) -> None:
    """Whoever asks for the searches of one person must find them all."""
    world.sql("UPDATE audit_entry SET actor = 'nobody' WHERE entry_index = 33")
    assert world.first_fault() == Fault(index=33, text="entry 33: its row says another actor than its record")


def test_a_reference_that_was_taken_out_is_named(world: World) -> None:
    """Whoever asks for what was said of a search must find it."""
    with world.open() as log:
        log.append([search_by("ann", refers_to=(RECORDS[0].record_id, RECORDS[1].record_id))])
        world.publish(log)
    assert world.verify().faults == ()
    world.sql("DELETE FROM audit_reference WHERE refers_to = ?", RECORDS[0].record_id)
    assert world.first_fault() == Fault(
        index=600, text="entry 600: its row says another refers_to than its record"
    )


@pytest.mark.parametrize("index", [41, 590])
def test_a_removed_entry_is_named(world: World, index: int) -> None:
    world.sql(f"DELETE FROM audit_entry WHERE entry_index = {index}")  # noqa: S608
    assert world.first_fault() == Fault(index=index, text=f"entry {index} is missing")


def test_a_record_that_was_taken_out_without_an_erasure_is_named(world: World) -> None:
    world.sql(
        "UPDATE audit_entry SET record = NULL, salt = NULL, actor = '', kind = '' WHERE entry_index = 55"
    )
    assert world.first_fault().index == 55
    assert "no erasure names it" in world.first_fault().text


def test_an_erasure_is_no_fault(world: World) -> None:
    with world.open() as log:
        log.erase([RECORDS[55].record_id], erasure_of([RECORDS[55]]))
        world.publish(log)
    found = world.verify()
    assert (found.faults, found.erased, found.size) == ((), 1, 601)


def test_an_inserted_entry_is_named(world: World) -> None:
    world.sql(COPY_OF_5, 600)
    assert world.first_fault().index == 600
    assert "was inserted" in world.first_fault().text


def test_an_entry_that_was_inserted_between_others_is_named(world: World) -> None:
    world.sql("UPDATE audit_entry SET entry_index = -1 - entry_index WHERE entry_index >= 100")
    world.sql("UPDATE audit_entry SET entry_index = -entry_index WHERE entry_index < 0")
    world.sql(COPY_OF_5, 100)
    assert world.first_fault().index == 100


def test_two_entries_that_were_swapped_are_named(world: World) -> None:
    for old, new in ((20, -1), (300, 20), (-1, 300)):
        world.sql("UPDATE audit_entry SET entry_index = ? WHERE entry_index = ?", new, old)
    concerned = {fault.index for fault in world.verify().faults}
    assert world.first_fault().index == 20
    assert 300 in concerned


def test_a_tail_that_was_cut_is_named(world: World) -> None:
    world.sql("DELETE FROM audit_entry WHERE entry_index >= 580")
    fault = world.first_fault()
    assert fault.index == 580
    assert "has 580 entries, and this checkpoint has 600" in fault.text


@pytest.mark.parametrize(
    ("path", "byte", "entry"),
    [
        ("tile/0/001", 32 * 5 + 3, 256 + 5),
        ("tile/0/002.p/88", 32 * 87 + 31, 599),
        ("tile/1/000.p/2", 32, 256),
        ("tile/entries/000", 34 * 9 + 2, 9),
        ("tile/entries/002.p/88", 34 * 3, 515),
    ],
)
def test_a_flipped_bit_of_a_published_tile_is_named(world: World, path: str, byte: int, entry: int) -> None:
    flip(world.folder / "tiles" / path, byte)
    fault = world.first_fault()
    assert fault.index == entry
    assert path in fault.text


def test_a_flipped_bit_of_a_kept_tile_is_named(world: World) -> None:
    with closing(sqlite3.connect(world.folder / "ledger.db")) as connection, connection:
        (hashes,) = connection.execute("SELECT hashes FROM audit_tile WHERE number = 1").fetchone()
        body = bytearray(hashes)
        body[32 * 7] ^= 1
        connection.execute("UPDATE audit_tile SET hashes = ? WHERE number = 1", (bytes(body),))
    assert world.first_fault() == Fault(
        index=263, text="the ledger: tile/0/001: hash 7 is not that of entry 263"
    )


def test_a_missing_tile_is_named(world: World) -> None:
    (world.folder / "tiles" / "tile" / "0" / "000").unlink()
    assert world.first_fault() == Fault(index=0, text="tiles/tile/0/000 is missing")


def test_a_checkpoint_that_is_not_signed_by_the_key_is_named(world: World) -> None:
    world.sql("UPDATE audit_tree SET checkpoint = replace(checkpoint, '— ', '— x')")
    assert any("not signed" in fault.text for fault in world.verify().faults)


def test_a_log_that_was_rolled_back_to_last_week_is_named(world: World) -> None:
    """Ledger and tiles are put back, with all signatures right. Only the second place knows better."""
    roll_back(world)
    found = world.verify()
    assert found.size == LAST_WEEK
    assert [(fault.index, fault.text) for fault in found.faults] == [
        (
            300,
            f"{name}: the log was cut or rolled back. It has 300 entries, and this checkpoint has 600",
        )
        for name in copies_of(world)
    ]


def test_a_forked_history_is_named(world: World) -> None:
    """Rolled back, and then gone on with other searches: as long as the first, and all signatures right."""
    roll_back(world)
    with world.open() as log:
        log.append([replace(record, purpose_code="other") for record in RECORDS[LAST_WEEK:]])
        Publisher(log, KEY.verifier, tiles=world.place("tiles")).publish()
    faults = world.verify().faults
    assert [fault.text for fault in faults] == [
        f"{name}: the log was changed or forked. Its first 600 entries are not those of this checkpoint"
        for name in copies_of(world)
    ]


def test_nothing_is_signed_after_a_rollback(world: World) -> None:
    """A process that starts sees the checkpoint in the second place, and refuses."""
    roll_back(world)
    guard = read_checkpoints(world.place("copies"), KEY.verifier)
    with (
        open_audit_log(world.url, KEY, guard=lambda: guard) as log,
        pytest.raises(FatalError, match=r"rolled back\. It has 300 entries"),
    ):
        log.append([search_by("ann")])


def test_nothing_is_signed_after_a_rollback_under_a_process_that_runs(world: World) -> None:
    with world.open() as log:
        log.append([search_by("ann")])
        for table, column in (("audit_entry", "entry_index"), ("audit_tile", "number")):
            world.sql(f"DELETE FROM {table} WHERE {column} >= 300")  # noqa: S608
        world.sql("UPDATE audit_tree SET size = 300")
        for _ in range(3):  # and not the first time alone
            with pytest.raises(FatalError, match="was put back"):
                log.append([search_by("bob")])


def test_no_second_log_is_begun_where_a_process_has_seen_one(world: World) -> None:
    with world.open() as log:
        log.append([search_by("ann")])
        for table in ("audit_entry", "audit_tile", "audit_tree"):
            world.sql(f"DELETE FROM {table}")  # noqa: S608
        with pytest.raises(FatalError, match="has 0: the ledger was put back"):
            log.append([search_by("bob")])


def test_nothing_is_signed_on_top_of_a_damaged_tree(world: World) -> None:
    world.sql("UPDATE audit_entry SET commitment = zeroblob(32) WHERE entry_index = 599")
    with world.open() as log, pytest.raises(FatalError, match="not what was signed"):
        log.append([search_by("ann")])


def test_evidence_of_another_history_is_not_overwritten(world: World) -> None:
    roll_back(world)
    kept = (world.folder / "copies" / "checkpoint").read_text()
    with world.open() as log:
        log.append([replace(record, purpose_code="other") for record in RECORDS[LAST_WEEK:]])
        with pytest.raises(FatalError, match="forked"):
            world.publish(log)
    assert (world.folder / "copies" / "checkpoint").read_text() == kept


def flip(path: Path, byte: int) -> None:
    body = bytearray(path.read_bytes())
    body[byte] ^= 1
    path.write_bytes(body)


def roll_back(world: World) -> None:
    for path in world.folder.glob("ledger.db*"):
        path.unlink()
    shutil.move(world.folder / "last_week.db", world.folder / "ledger.db")
    shutil.rmtree(world.folder / "tiles")
    with world.open() as log:
        Publisher(log, KEY.verifier, tiles=world.place("tiles")).publish()


def copies_of(world: World) -> list[str]:
    return [one.name for one in read_checkpoints(world.place("copies"), KEY.verifier)]


@pytest.fixture
def verified(tmp_path: Path) -> World:
    """A search of two matches, one of them confirmed by two persons."""
    world, search = World(folder=tmp_path), search_to_verify(hits=2)
    with world.open() as log:
        log.append([search_by("ann"), search, decision_on(search, "bob"), decision_on(search, "cat")])
    return world


def verified_with_persons(world: World) -> Verified:
    with world.open() as log:
        return verify_log(log, KEY.verifier, verifications=log.verifications)


TAMPERED_PERSONS = {
    "UPDATE verification_decision SET decision = 'reject' WHERE person = 'bob'": "a decision of bob that no",
    "UPDATE verification_decision SET record_id = 'no entry' WHERE person = 'cat'": "of cat that no entry",
    "INSERT INTO verification_decision SELECT search_id, 2, 'eve', 'eve', decision, reason, at, 'none', 9 "
    "FROM verification_decision WHERE person = 'bob'": "-2 has a decision of eve that no entry gives",
    "DELETE FROM verification_decision WHERE person = 'bob'": "-1 differs in the table",
    "UPDATE verification SET persons_needed = 1 WHERE rank = 1": "-1 differs in the table",
    "UPDATE verification SET is_open = 0 WHERE is_open": "-2 is open, and in no queue",
    "UPDATE verification SET is_open = 1 WHERE rank = 1": "-1 is closed, and in the queue",
    "DELETE FROM verification WHERE rank = 2": "-2 is not in the table, and an entry opens it",
    "INSERT INTO verification SELECT 'made up', rank, candidate_id, score, collection, opened, opened_at, "
    "persons_needed, searched_by, searched_for, is_open FROM verification WHERE rank = 2": (
        "match made up-2 is in the table, and no entry opens it"
    ),
}


@pytest.mark.parametrize("statement", TAMPERED_PERSONS)
def test_a_table_of_decisions_that_the_entries_do_not_give_is_found(verified: World, statement: str) -> None:
    assert verified_with_persons(verified).faults == ()
    verified.sql(statement)
    [fault] = verified_with_persons(verified).faults
    assert fault.index == 1
    assert TAMPERED_PERSONS[statement] in fault.text
    with verified.open() as log:
        log.rebuild_verifications()
    assert verified_with_persons(verified).faults == ()
