"""Publishing a log, and the fence between histories."""

import threading

import pytest

from pipeline.audit.checkpoint import Checkpoint, NamedCheckpoint, parse_checkpoint
from pipeline.audit.note import SigningKey
from pipeline.audit.place import Place, read_checkpoints
from pipeline.audit.publisher import Publisher
from pipeline.audit.rollback import check_not_behind
from pipeline.audit.tiles import entries_path, tiles_of
from pipeline.audit.tree import NodeReader
from pipeline.audit.verify import verify_log
from pipeline.audit.witness_policy import parse_policy
from pipeline.audit.witnesses import Witnesses
from pipeline.errors import FatalError, TransientError
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_store import MemoryStore
from tests.audit_records import MadeTree, search_by
from tests.witness import MemoryWitness

BUCKET, SECOND = "tiles", "copies"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(BUCKET, SECOND)


def place(store: MemoryStore, bucket: str = BUCKET) -> Place:
    return Place(store=store, bucket=bucket, prefix="log/", url=f"s3://{bucket}/log/")


def names(store: MemoryStore, bucket: str = BUCKET) -> set[str]:
    return {ref.key.removeprefix("log/") for ref in store.list_objects(bucket)}


def grow(log: MemoryAuditLog, entries: int) -> None:
    log.append([search_by("ann", candidates=()) for _ in range(entries)])


def test_a_log_is_published_with_all_its_tiles(store: MemoryStore, log: MemoryAuditLog) -> None:
    grow(log, 300)
    Publisher(log, log.key.verifier, tiles=place(store)).publish()
    tiles = list(tiles_of(300))
    bundles = {entries_path(tile.number, tile.width) for tile in tiles if tile.level == 0}
    assert names(store) == {"checkpoint", *bundles, *(tile.path for tile in tiles)}
    assert verify_log(log, log.key.verifier, place=place(store)).faults == ()


def test_partial_tiles_go_when_their_tile_is_full(store: MemoryStore, log: MemoryAuditLog) -> None:
    publisher = Publisher(log, log.key.verifier, tiles=place(store))
    for entries in (100, 100, 100):
        grow(log, entries)
        publisher.publish()
    partial = {name for name in names(store) if ".p/" in name}
    assert partial == {"tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1"}


def test_the_checkpoint_is_written_after_its_tiles(store: MemoryStore, log: MemoryAuditLog) -> None:
    """Whoever dies in between leaves a checkpoint whose tiles are there."""
    publisher = Publisher(log, log.key.verifier, tiles=place(store))
    grow(log, 5)
    publisher.publish()
    grow(log, 5)
    store.put(BUCKET, "log/tile/0/000.p/10", b"")  # as if it had died before its end
    assert verify_log(log, log.key.verifier, place=place(store)).faults == ()
    publisher.publish()
    assert verify_log(log, log.key.verifier, place=place(store)).faults == ()


def test_checkpoints_are_kept_in_a_second_place_with_one_of_each_day(
    store: MemoryStore, log: MemoryAuditLog
) -> None:
    publisher = Publisher(log, log.key.verifier, tiles=None, copies=[place(store, SECOND)])
    for _ in range(2):
        grow(log, 3)
        publisher.publish()
    kept = read_checkpoints(place(store, SECOND), log.key.verifier)
    assert [one.checkpoint.size for one in kept] == [6, 6]
    assert {name.partition("/")[0] for name in names(store, SECOND)} == {"checkpoint", "days"}


def test_an_older_checkpoint_never_takes_the_place_of_a_newer_one(
    store: MemoryStore, log: MemoryAuditLog
) -> None:
    """Of two processes that publish, the slower one does no harm."""
    grow(log, 3)
    slow = Publisher(log, log.key.verifier, tiles=place(store))
    before = log.head()
    grow(log, 3)
    Publisher(log, log.key.verifier, tiles=place(store)).publish()
    log._checkpoint, newest = before.checkpoint, log._checkpoint
    slow.publish()
    assert read_checkpoints(place(store), log.key.verifier)[0].checkpoint.size == 6
    log._checkpoint = newest


def test_a_checkpoint_of_another_history_is_left_where_it_is(store: MemoryStore) -> None:
    key = SigningKey.generate("audit.test/log")
    one, other = MadeTree([b"a", b"b"], key), MadeTree([b"a", b"c", b"d"], key)
    Publisher(one, key.verifier, tiles=place(store)).publish()
    with pytest.raises(FatalError, match="forked"):
        Publisher(other, key.verifier, tiles=place(store)).publish()
    assert read_checkpoints(place(store), key.verifier)[0].checkpoint.size == 2


def test_a_place_with_another_log_is_refused(store: MemoryStore, log: MemoryAuditLog) -> None:
    store.put(BUCKET, "log/checkpoint", MadeTree([b"a"], SigningKey.generate("x")).head().checkpoint.encode())
    grow(log, 1)
    with pytest.raises(FatalError, match="no checkpoint of this log"):
        Publisher(log, log.key.verifier, tiles=place(store)).publish()


def test_what_witnesses_signed_is_published_and_kept(store: MemoryStore, log: MemoryAuditLog) -> None:
    witness = MemoryWitness(log.key.verifier)
    policy = parse_policy(f"witness w {witness.key} https://witness.test\nquorum w")
    cosign = Witnesses(list(policy.witnesses.values()), witness.post).cosign
    publisher = Publisher(log, log.key.verifier, tiles=place(store), cosign=cosign)
    for _ in range(3):
        grow(log, 200)
        publisher.publish()
        assert policy.is_met(read_checkpoints(place(store), log.key.verifier)[0].checkpoint)
    assert witness.asked == [200] * 3
    assert policy.is_met(parse_checkpoint(log.cosigned()))


def test_an_error_that_nobody_foresaw_does_not_end_the_thread(
    store: MemoryStore, log: MemoryAuditLog, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the process goes on recording, and publishes nothing any more."""
    failed = threading.Event()

    def cosign(checkpoint: Checkpoint, _nodes: NodeReader) -> Checkpoint:
        if not failed.is_set():
            failed.set()
            raise LookupError("of a library")
        return checkpoint

    publisher = Publisher(log, log.key.verifier, tiles=place(store), cosign=cosign)
    grow(log, 3)
    publisher.notify()
    assert failed.wait(30)
    publisher.close()
    assert read_checkpoints(place(store), log.key.verifier)[0].checkpoint.size == 3
    assert "LookupError" in caplog.text


def test_the_thread_publishes_what_it_is_told_of_and_the_rest_at_the_end(
    store: MemoryStore, log: MemoryAuditLog
) -> None:
    publisher = Publisher(log, log.key.verifier, tiles=place(store))
    grow(log, 3)
    publisher.notify()
    grow(log, 4)
    publisher.close()
    assert read_checkpoints(place(store), log.key.verifier)[0].checkpoint.size == 7


def test_one_pass_ends_however_fast_the_log_grows(store: MemoryStore, log: MemoryAuditLog) -> None:
    """A service that answers searches all the time would else publish all the time."""

    def cosign(checkpoint: Checkpoint, _nodes: NodeReader) -> Checkpoint:
        if log.head().size < 100:
            grow(log, 10)  # while the first are being written
        return checkpoint

    publisher = Publisher(log, log.key.verifier, tiles=place(store), cosign=cosign)
    grow(log, 10)
    assert publisher.publish_newest()
    assert read_checkpoints(place(store), log.key.verifier)[0].checkpoint.size == 10
    publisher.publish()
    assert read_checkpoints(place(store), log.key.verifier)[0].checkpoint.size == 100
    assert not publisher.publish_newest()


def test_a_store_that_is_away_is_tried_again_at_the_end(
    store: MemoryStore, log: MemoryAuditLog, caplog: pytest.LogCaptureFixture
) -> None:
    grow(log, 3)
    store.fail_next(TransientError("away"))
    publisher = Publisher(log, log.key.verifier, tiles=place(store))
    publisher.notify()
    publisher.close()
    assert "could not be published" in caplog.text
    assert read_checkpoints(place(store), log.key.verifier)[0].checkpoint.size == 3


def test_a_log_is_compared_with_what_is_known_of_it() -> None:
    key = SigningKey.generate("audit.test/log")
    tree = MadeTree([b"a", b"b", b"c"], key)

    def known(*entries: bytes) -> list[NamedCheckpoint]:
        head = parse_checkpoint(MadeTree(entries, key).head().checkpoint)
        return [NamedCheckpoint(name="kept", checkpoint=head)]

    check_not_behind([], 3, tree._edge.node)
    check_not_behind(known(b"a", b"b"), 3, tree._edge.node)
    check_not_behind(known(b"a", b"b", b"c"), 3, tree._edge.node)
    with pytest.raises(FatalError, match=r"kept: the log was rolled back\. It has 3 entries"):
        check_not_behind(known(b"a", b"b", b"c", b"d"), 3, tree._edge.node)
    with pytest.raises(FatalError, match="kept: the log was forked"):
        check_not_behind(known(b"a", b"x"), 3, tree._edge.node)
