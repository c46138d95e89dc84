"""Receipts of searches, as their holders keep them: one JSON object a line, with the fields of an answer.

    {"query": …, "receipt": ID, "inclusion": {"index": …, "commitment": …, "proof": …}}

Other fields are passed over, so that what `pictor search --json` prints is such a file, too.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass

import rfc8785

from pipeline.audit.check import is_included
from pipeline.audit.checkpoint import Checkpoint, open_checkpoint
from pipeline.audit.hashes import leaf_hash
from pipeline.audit.note import VerifierKey
from pipeline.audit.proof_file import Proof, parse_proof
from pipeline.audit.records import commit
from pipeline.audit.witness_policy import WitnessPolicy


class ReceiptError(ValueError):
    """The message says what of a receipt is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """Nothing is verified yet."""

    record_id: str
    commitment: bytes
    proof: Proof


def read_receipts(text: str) -> Iterator[Receipt]:
    """Raises ReceiptError, naming the line."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield _read_receipt(json.loads(line))
            except (ValueError, KeyError, TypeError) as err:
                raise ReceiptError(f"line {number}: no receipt, or one that was cut: {err}") from err


def check_receipt(receipt: Receipt, key: VerifierKey, policy: WitnessPolicy | None = None) -> Checkpoint:
    """Check that the entry is in the log. What its record says, `check_record` tells.

    Args:
        policy: which witnesses must have signed.

    Returns:
        The checkpoint that the entry is under.

    Raises:
        ReceiptError: it is not shown to be there.
    """
    proof = receipt.proof
    try:
        checkpoint = open_checkpoint(str(proof.checkpoint), key)
    except ValueError as err:
        raise ReceiptError(f"receipt {receipt.record_id}: {err}") from err
    if policy and not policy.is_met(checkpoint):
        raise ReceiptError(f"receipt {receipt.record_id}: too few witnesses signed the checkpoint")
    leaf = leaf_hash(receipt.commitment)
    if not is_included(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root):
        raise ReceiptError(f"receipt {receipt.record_id}: its entry is not entry {proof.index} of the log")
    return checkpoint


def check_record(receipt: Receipt, record: bytes) -> None:
    """Raises ReceiptError: this JSON is not the record that the entry commits to."""
    try:
        read = json.loads(record)
        commitment = commit(receipt.proof.extra, rfc8785.dumps(read))
    except ValueError as err:
        raise ReceiptError(f"the record is no JSON: {err}") from err
    if commitment != receipt.commitment or read.get("record_id") != receipt.record_id:
        raise ReceiptError(f"receipt {receipt.record_id} is of another record than this one")


def _read_receipt(answer: dict[str, object]) -> Receipt:
    inclusion = answer["inclusion"]
    if not isinstance(inclusion, dict):
        raise TypeError("`inclusion` is no object")
    commitment = base64.b64decode(str(inclusion["commitment"]), validate=True)
    proof = parse_proof(str(inclusion["proof"]))
    if inclusion["index"] != proof.index:
        raise ValueError(f"index {inclusion['index']} beside a proof of entry {proof.index}")
    return Receipt(record_id=str(answer["receipt"]), commitment=commitment, proof=proof)
