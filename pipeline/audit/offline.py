"""Check proofs and exports without Pictor's ledger: files and a public key are enough.

    python -m pipeline.audit.offline FOLDER --vkey VKEY
    python -m pipeline.audit.offline search.tlog-proof --record record.json --vkey VKEY

The public key must come from somewhere else than the files: whoever can forge these can write another key
beside them.
"""

import argparse
import base64
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import rfc8785

from pipeline.audit.check import is_included
from pipeline.audit.checkpoint import Checkpoint, open_checkpoint
from pipeline.audit.edge import Edge
from pipeline.audit.hashes import leaf_hash
from pipeline.audit.note import NoteError, VerifierKey, parse_verifier_key
from pipeline.audit.proof_file import parse_proof
from pipeline.audit.records import commit
from pipeline.audit.tiles import CHECKPOINT, TILE_HASHES, Tile, entries_path, tiles_of, unpack_entries
from pipeline.audit.witness_policy import WitnessPolicy, parse_policy
from pipeline.errors import PictorError

RECORDS = "records.jsonl"


class CheckError(ValueError):
    """Something is not what it should be. The message names the first such thing."""


def check_proof(
    proof: str, record: bytes, key: VerifierKey, *, salt: bytes = b"", policy: WitnessPolicy | None = None
) -> Checkpoint:
    """Check that a record is in a log.

    Args:
        proof: the text of a `.tlog-proof`.
        record: the record's JSON, in any spelling.
        salt: of a record whose proof does not bring it along.
        policy: which witnesses must have signed.

    Returns:
        The checkpoint that the record is under.

    Raises:
        CheckError: it is not shown to be there.
    """
    try:
        read = parse_proof(proof)
        checkpoint = _check_head(str(read.checkpoint), key, policy)
        leaf = leaf_hash(commit(read.extra or salt, rfc8785.dumps(json.loads(record))))
    except ValueError as err:
        raise CheckError(str(err)) from err
    if not is_included(leaf, read.index, checkpoint.size, read.hashes, checkpoint.root):
        raise CheckError(f"this record is not entry {read.index} of the log")
    return checkpoint


def check_export(folder: Path, key: VerifierKey, *, policy: WitnessPolicy | None = None) -> tuple[int, int]:
    """Check the whole tree of an export, and each of its records.

    Returns:
        The size of the tree, and how many records there are.

    Raises:
        CheckError: something is missing or changed; the first such entry is named.
    """
    try:
        head = _check_head(_read(folder / CHECKPOINT).decode(), key, policy)
        commitments = list(_entries(folder, head.size))
        _check_tree(folder, commitments, head)
        return head.size, sum(1 for _ in _checked_records(folder, commitments))
    except ValueError as err:
        raise CheckError(str(err)) from err


def _check_head(text: str, key: VerifierKey, policy: WitnessPolicy | None) -> Checkpoint:
    checkpoint = open_checkpoint(text, key)
    if policy and not policy.is_met(checkpoint):
        raise CheckError("too few witnesses signed the checkpoint")
    return checkpoint


def _entries(folder: Path, size: int) -> Iterator[bytes]:
    for first in range(0, size, TILE_HASHES):
        width = min(TILE_HASHES, size - first)
        entries = unpack_entries(_read(folder / entries_path(first // TILE_HASHES, width)))
        if len(entries) != width:
            raise CheckError(f"{len(entries)} entries from {first} on; {width} are expected")
        yield from entries


def _check_tree(folder: Path, commitments: Sequence[bytes], head: Checkpoint) -> None:
    edge = Edge()
    for entry in commitments:
        for full in edge.append(leaf_hash(entry)):
            shape = Tile(level=full.level, number=full.number, width=TILE_HASHES)
            _check_tile(folder, shape, full.hashes)
        edge.forget_full()
    for tile in tiles_of(head.size):
        if tile.width < TILE_HASHES:
            _check_tile(folder, tile, edge.tile(tile.level, tile.number, tile.width))
    if edge.root() != head.root:
        raise CheckError("the entries do not lead to the root that is signed")


def _check_tile(folder: Path, tile: Tile, right: bytes) -> None:
    if _read(folder / tile.path) != right:
        raise CheckError(f"{tile.path} does not match the entries")


def _checked_records(folder: Path, commitments: Sequence[bytes]) -> Iterator[int]:
    with (folder / RECORDS).open("rb") as lines:
        for number, text in enumerate(lines, start=1):
            line = json.loads(text)
            index, commitment = line["index"], base64.b64decode(line["commitment"])
            if not 0 <= index < len(commitments) or commitment != commitments[index]:
                raise CheckError(f"{RECORDS}, line {number}: entry {index} is not in the tree")
            if "record" in line:
                if commit(base64.b64decode(line["salt"]), rfc8785.dumps(line["record"])) != commitment:
                    raise CheckError(f"{RECORDS}, line {number}: the record is not entry {index}")
                yield index


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise CheckError(f"{path} cannot be read: {err.strerror}") from err


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when all is right, 1 when not."""
    parser = argparse.ArgumentParser(description="Check a proof or an export of a transparency log.")
    parser.add_argument("path", type=Path, help="a folder that was exported, or a .tlog-proof")
    parser.add_argument("--vkey", required=True, help="public key of the log: its text, or a file")
    parser.add_argument("--record", type=Path, help="the JSON of the record, for a .tlog-proof")
    parser.add_argument("--policy", type=Path, help="a c2sp.org/tlog-policy file of witnesses")
    given = parser.parse_args(arguments)
    try:
        sys.stdout.write(_run(given) + "\n")
    except (CheckError, NoteError, PictorError, OSError) as err:
        sys.stderr.write(f"error: {err}\n")
        return 1
    return 0


def _run(given: argparse.Namespace) -> str:
    path: Path = given.path
    vkey = Path(given.vkey).read_text() if Path(given.vkey).is_file() else given.vkey
    key = parse_verifier_key(vkey)
    policy = parse_policy(given.policy.read_text()) if given.policy else None
    if path.is_dir():
        size, records = check_export(path, key, policy=policy)
        return f"{path}: {records} records are in the tree of {size} entries of {key.name}"
    if given.record is None:
        raise CheckError("--record is needed with a .tlog-proof")
    checkpoint = check_proof(path.read_text(), given.record.read_bytes(), key, policy=policy)
    return f"{path}: the record is in the log {key.name}, of {checkpoint.size} entries"


if __name__ == "__main__":
    sys.exit(main())
