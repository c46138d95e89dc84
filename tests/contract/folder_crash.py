"""Lives of a folder index that end by SIGKILL at a chosen line, and what is there afterwards.

One process per trial would import for seconds; this one imports once and forks. Run by test_folder_crash:
`python -m tests.contract.folder_crash FOLDER TRIALS SEED`. It prints what was found and exits with 1.
"""

import faulthandler
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import numpy as np
from milvus_lite import MilvusLite

from pipeline.adapters.milvus.lite.index import LiteIndex
from pipeline.types import CollectionRef, IndexRow, ModelSpec, ObjectRef, Preprocessing, image_id_of
from tests.index_rows import ids_in, put

DIM = 4
KEYS = 30
OPERATIONS = 12  # in each life
LINES = 30_000  # of a life, about
TRACED = ("/pipeline/adapters/milvus/", "/milvus_lite/")

_FINGERPRINT = "a1" * 32
_TARGET = CollectionRef(name="photos", fingerprint=_FINGERPRINT)
_WHEN = datetime(2026, 3, 1, tzinfo=UTC)

State = dict[str, tuple[str, tuple[float, ...]]]  # id → etag and vector


def main() -> None:
    home, trials, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    faulthandler.enable()
    template = home / "template"
    _in_child(partial(_create, template))
    killed = sum(_trial(home, template, seed + number) for number in range(trials))
    print(f"{killed} of {trials} were killed under way")


def _trial(home: Path, template: Path, seed: int) -> bool:
    """Returns whether the first life was killed before its end."""
    random = Random(seed)
    folder = home / f"trial{seed}"
    shutil.copytree(template, folder)
    acknowledged = folder / "acknowledged"
    acknowledged.touch()
    killed = False
    done = 0
    for life in range(3):
        kill_at_line = random.randint(1, random.choice([300, 3_000, LINES]))
        status = _fork(partial(_live, folder, seed, life, done, kill_at_line))
        if status not in (0, -signal.SIGKILL):
            sys.exit(f"seed {seed}: life {life} ended with {status}")
        killed = killed or status != 0
        done = len(acknowledged.read_bytes())
        _in_child(partial(_check, folder, seed, done))
        done = len(acknowledged.read_bytes())  # the operation that was cut may have been done
    shutil.rmtree(folder)
    return killed


def _create(folder: Path) -> None:
    with LiteIndex(str(folder / "milvus.db")) as index:
        index.create_collection("photos", _model())


def _live(folder: Path, seed: int, life: int, done: int, kill_at_line: int) -> None:
    _kill_at(kill_at_line)
    index = LiteIndex(str(folder / "milvus.db"))
    with (folder / "acknowledged").open("ab", buffering=0) as acknowledged:
        for number in range(done, OPERATIONS * (life + 1)):
            _operate(index, seed, number)
            acknowledged.write(b".")
    index.close()


def _operate(index: LiteIndex, seed: int, number: int) -> None:
    match _plan(seed, number):
        case ("put", rows):
            put(index, _TARGET, rows)
        case ("delete", ids):
            index.delete_images(_TARGET, ids)
        case _:
            index.flush(_TARGET)
            index.search(_TARGET, np.eye(DIM, dtype=np.float32)[:1], k=5)


def _plan(seed: int, number: int) -> tuple[str, list[Any]]:
    """The same operation each time it is asked for."""
    random = Random(seed * 1_000 + number)
    keys = random.sample(range(KEYS), random.randint(1, 8))
    match random.choice(["put", "put", "put", "delete", "settle"]):
        case "put":
            return "put", [_row(key, f"{seed}.{number}", random) for key in keys]
        case "delete":
            return "delete", [image_id_of("b", str(key)) for key in keys]
        case other:
            return other, []


def _state_after(seed: int, operations: int) -> State:
    state: State = {}
    for number in range(operations):
        kind, values = _plan(seed, number)
        if kind == "put":
            state |= {row.id: (row.ref.etag, tuple(row.vector.tolist())) for row in values}
        elif kind == "delete":
            state = {id_: row for id_, row in state.items() if id_ not in values}
    return state


def _check(folder: Path, seed: int, done: int) -> None:
    shutil.copytree(folder / "milvus.db", folder / "looked_at.db")
    in_lite = _rows_of_lite(folder / "looked_at.db")
    shutil.rmtree(folder / "looked_at.db")
    with LiteIndex(str(folder / "milvus.db")) as index:
        rows = index.get_rows(_TARGET, ids_in(index, _TARGET))
        answered = {row.id: (row.ref.etag, tuple(row.vector.tolist())) for row in rows}
        hits = index.search(_TARGET, np.eye(DIM, dtype=np.float32), k=KEYS)
    assert answered == in_lite, f"seed {seed}: the copy is not what Milvus Lite has"
    for found in hits:
        assert {hit.id: hit.etag for hit in found} == {id_: etag for id_, (etag, _) in in_lite.items()}
    if in_lite != _state_after(seed, done):
        assert in_lite == _state_after(seed, done + 1), f"seed {seed}: not what was acknowledged"
        (folder / "acknowledged").write_bytes(b"." * (done + 1))


def _rows_of_lite(path: Path) -> State:
    with MilvusLite(str(path)) as engine:
        collection = engine.get_collection("photos")
        collection.load()
        rows = collection.query(output_fields=["id", "etag", "embedding"])
        return {row["id"]: (row["etag"], tuple(row["embedding"])) for row in rows}


def _kill_at(line: int) -> None:
    left = line
    lock = threading.Lock()

    def count(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        nonlocal left
        if not any(part in frame.f_code.co_filename for part in TRACED):
            return None
        with lock:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return count

    threading.settrace(count)  # Milvus Lite merges files in a thread
    sys.settrace(count)


def _in_child(work: Callable[[], None]) -> None:
    status = _fork(work)
    if status != 0:
        sys.exit(f"a check failed ({status})")


def _fork(work: Callable[[], None]) -> int:
    """Returns the exit code, or minus the signal that ended it."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as err:  # noqa: BLE001  # the end of a process
            print(f"{type(err).__name__}: {err}", flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _row(key: int, etag: str, random: Random) -> IndexRow:
    vector = np.array([random.gauss(0, 1) for _ in range(DIM)], dtype=np.float32)
    return IndexRow(
        id=image_id_of("b", str(key)),
        ref=ObjectRef(bucket="b", key=str(key), etag=etag, size_bytes=1),
        vector=vector / np.linalg.norm(vector),
        width=1,
        height=1,
        indexed_at=_WHEN,
    )


def _model() -> ModelSpec:
    return ModelSpec(
        name="first",
        address="builtin/first",
        architecture="none",
        fingerprint=_FINGERPRINT,
        dim=DIM,
        preprocessing=Preprocessing(resize=8, crop=8, mean=(0, 0, 0), std=(1, 1, 1)),
    )


if __name__ == "__main__":
    main()
