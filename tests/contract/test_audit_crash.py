"""Processes that search die at any moment. What they answered is in the log, and nothing contradicts it."""

import multiprocessing
import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from pipeline.adapters.folder.store import FolderStore
from pipeline.adapters.ledger.sql_audit_log import open_audit_log
from pipeline.audit.check import is_included
from pipeline.audit.checkpoint import NamedCheckpoint, open_checkpoint, parse_checkpoint
from pipeline.audit.hashes import leaf_hash
from pipeline.audit.note import SigningKey
from pipeline.audit.place import Place, read_checkpoints
from pipeline.audit.proof_file import parse_proof
from pipeline.audit.publisher import Publisher
from pipeline.audit.verify import verify_log
from pipeline.ports import AuditLog
from pipeline.search.query import Vector
from pipeline.service.access import local_caller
from pipeline.service.models import ResidentModel
from pipeline.service.search import SearchPorts, SearchRequest, search_images
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import AuditReceipt
from tests.accountable import accountability
from tests.audit_records import proves, search_by
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, SPEC, FakeEmbedder

KEY = SigningKey.generate("pictor.test/log")
PROCESSES, THREADS = 2, 3
QUERY = Vector(text="vector", values=[1.0] * SPEC.dim)
REQUEST = SearchRequest(collection=COLLECTION)
# A process that starts anew takes a second to import what it needs.
fork = multiprocessing.get_context("fork")


# Rounds, and the most answers of a process before it is killed. 100 rounds are 200 kills.
@pytest.mark.parametrize(("rounds", "most"), [(2, 10), pytest.param(100, 40, marks=pytest.mark.repeat)])
def test_searches_that_are_killed_have_answered_nothing_without_its_entry(
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
    """Start processes that search, and kill each after so many answers. Returns their receipts."""
    left, processes = dict[Connection, int](), dict[Connection, ForkProcess]()
    for limit in limits:
        ours, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=search_for_ever, args=(url, folder, theirs), daemon=True)
        process.start()
        theirs.close()
        left[ours], processes[ours] = limit, process
    receipts: list[tuple[str, AuditReceipt]] = []
    while left:
        ready = [one for one in wait(list(left), timeout=60) if isinstance(one, Connection)]
        assert ready, "nobody was answered for a minute"
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


def search_for_ever(url: str, folder: Path, receipts: Connection) -> None:
    """Many threads search and tell of each answer, while another thread publishes."""
    turn = fork.Lock()
    with open_audit_log(url, KEY, guard=lambda: read_checkpoints(place(folder), KEY.verifier)) as log:
        log.on_commit = Publisher(log, KEY.verifier, tiles=place(folder)).notify

        ports = ports_over(log)

        def search(thread: int) -> None:
            for number in count():
                caller = replace(local_caller(), who=f"{os.getpid()}-{thread}-{number}")
                (answer,) = search_images([QUERY], REQUEST, ports, LIMITS, caller)
                with turn:
                    receipts.send((caller.who, answer.receipt))

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(search, range(THREADS)))


def ports_over(log: AuditLog) -> SearchPorts:
    index = MemoryIndex()
    index.create_collection(COLLECTION, SPEC)
    return SearchPorts(
        store=MemoryStore(BUCKET),
        index=index,
        answers_to=accountability(index, log),
        models=ResidentModel(FakeEmbedder(), index),
    )


def is_shown(receipt: AuditReceipt) -> bool:
    proof = parse_proof(receipt.proof)
    signed = open_checkpoint(str(proof.checkpoint), KEY.verifier)
    return is_included(leaf_hash(receipt.commitment), proof.index, signed.size, proof.hashes, signed.root)


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
            assert entry.commitment == receipt.commitment
            assert is_shown(receipt)
        after = search_by("after")
        (receipt,) = log.append([after])
        assert proves(receipt, after, KEY.verifier)
        Publisher(log, KEY.verifier, tiles=place(folder)).publish()
        found = verify_log(log, KEY.verifier, place=place(folder), others=others)
    assert found.faults == ()
    assert found.checkpoints == len(others) + 2
