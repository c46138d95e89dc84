"""Writers of the transparency log die at any moment. What was receipted is there, nothing contradicts it."""

import multiprocessing
import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from pipeline.adapters.folder.store import FolderStore
from pipeline.adapters.ledger.sql_audit_log import open_audit_log
from pipeline.audit.checkpoint import NamedCheckpoint, parse_checkpoint
from pipeline.audit.note import SigningKey
from pipeline.audit.place import Place, read_checkpoints
from pipeline.audit.publisher import Publisher
from pipeline.audit.verify import verify_log
from pipeline.types import AuditReceipt
from tests.audit_records import proves, search_by

KEY = SigningKey.generate("pictor.test/log")
PROCESSES, THREADS = 2, 3
# A process that starts anew takes a second to import what it needs.
fork = multiprocessing.get_context("fork")


# Rounds, and the most receipts of a process before it is killed.
@pytest.mark.parametrize(("rounds", "most"), [(2, 10), pytest.param(100, 40, marks=pytest.mark.repeat)])
def test_writers_that_are_killed_lose_nothing_and_contradict_nothing(
    database: str, rounds: int, most: int, tmp_path: Path
) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance, receipts = random.Random(seed), list[tuple[str, AuditReceipt]]()
    for _ in range(rounds):
        receipts += kill_writers(database, tmp_path, [chance.randint(1, most) for _ in range(PROCESSES)])
    assert len(receipts) >= rounds * PROCESSES
    check(database, tmp_path, receipts)


def kill_writers(url: str, folder: Path, limits: list[int]) -> list[tuple[str, AuditReceipt]]:
    """Start processes that write, and kill each when it has given so many receipts. Returns all of them."""
    left, processes = dict[Connection, int](), dict[Connection, ForkProcess]()
    for limit in limits:
        ours, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=write_for_ever, args=(url, folder, theirs), daemon=True)
        process.start()
        theirs.close()
        left[ours], processes[ours] = limit, process
    receipts: list[tuple[str, AuditReceipt]] = []
    while left:
        ready = [one for one in wait(list(left), timeout=60) if isinstance(one, Connection)]
        assert ready, "no writer gave a receipt for a minute"
        for connection in ready:
            try:
                receipts.append(connection.recv())
            except (EOFError, OSError):  # killed in the middle of a message, too
                del left[connection]
                continue
            left[connection] -= 1
            if left[connection] == 0:
                os.kill(processes[connection].pid or 0, signal.SIGKILL)
    for connection, process in processes.items():
        process.join()
        connection.close()
    return receipts


def write_for_ever(url: str, folder: Path, receipts: Connection) -> None:
    """Many threads append and tell of each receipt, while another thread publishes."""
    turn = fork.Lock()
    with open_audit_log(url, KEY, guard=lambda: read_checkpoints(place(folder), KEY.verifier)) as log:
        log.on_commit = Publisher(log, KEY.verifier, tiles=place(folder)).notify

        def write(thread: int) -> None:
            for number in count():
                record = search_by(f"{os.getpid()}-{thread}-{number}", candidates=())
                (receipt,) = log.append([record])
                with turn:
                    receipts.send((record.actor.id, receipt))

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(write, range(THREADS)))


def place(folder: Path) -> Place:
    (folder / "tiles").mkdir(exist_ok=True)
    return Place(store=FolderStore(), bucket=str(folder / "tiles"), prefix="", url="tiles/")


def check(url: str, folder: Path, receipts: list[tuple[str, AuditReceipt]]) -> None:
    """Every receipt is of an entry, and every checkpoint that anybody ever saw is of this history."""
    seen = {receipt.proof.partition("\n\n")[2] for _, receipt in receipts}
    others = [NamedCheckpoint(name="a receipt", checkpoint=parse_checkpoint(text)) for text in seen]
    with open_audit_log(url, KEY, guard=lambda: read_checkpoints(place(folder), KEY.verifier)) as log:
        for actor, receipt in receipts:
            entry = log.get(receipt.record_id)
            assert (entry.index, entry.found_by["actor"]) == (receipt.index, actor)
        after = search_by("after")
        (receipt,) = log.append([after])
        assert proves(receipt, after, KEY.verifier)
        Publisher(log, KEY.verifier, tiles=place(folder)).publish()
        found = verify_log(log, KEY.verifier, place=place(folder), others=others)
    assert found.faults == ()
    assert found.checkpoints == len(others) + 2
