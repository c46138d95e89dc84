"""What an answer carries of the log, and what its holder and an auditor can do with it."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.api.backend import Backend
from pipeline.audit.checkpoint import open_checkpoint, sign_checkpoint
from pipeline.audit.note import SigningKey
from pipeline.audit.proof_file import parse_proof, write_proof
from pipeline.audit.receipt_file import ReceiptError, check_receipt, check_record, read_receipts
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.service.accountability import Accountability
from pipeline.service.answers import answer_json
from pipeline.service.search import SearchAnswer
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_policies import MemoryPolicyBook
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import AuditReceipt, KeyRole
from tests.audit_records import search_by
from tests.unit.api_client import backend_of, client_of, client_with_keys, key_for
from tests.unit.commands import Output, pictor
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, distinct_png, plan_one_batch

SEARCH = f"/v1/collections/{COLLECTION}/search"
ENTRIES = "/v1/audit/entries"
MAX_RECEIPT_BYTES = 2048


@dataclass(frozen=True, kw_only=True)
class Service:
    backend: Backend
    log: MemoryAuditLog
    client: TestClient
    image_id: str

    def key(self, role: KeyRole, **more: Any) -> dict[str, str]:
        return key_for(self.backend, role, **more)

    def search(self, headers: dict[str, str]) -> dict[str, Any]:
        """The one answer."""
        found = self.client.post(SEARCH, json={"query": {"id": self.image_id}}, headers=headers)
        assert found.status_code == 200, found.text
        answer: dict[str, Any] = found.json()["answers"][0]
        return answer


@pytest.fixture
def service(deps: Deps, store: MemoryStore, tmp_path: Path) -> Iterator[Service]:
    store.put(BUCKET, "0.png", distinct_png(0))
    batch = plan_one_batch(deps)
    run_batch(batch, deps, LIMITS)
    log = MemoryAuditLog()
    backend = backend_of(deps, tmp_path, log=log)
    with client_with_keys(backend) as client:
        yield Service(backend=backend, log=log, client=client, image_id=batch.refs[0].image_id)


def test_the_receipt_of_an_answer_is_checked_with_the_public_key_alone(service: Service) -> None:
    searcher = service.key(KeyRole.SEARCHER)
    first, second = service.search(searcher), service.search(searcher)
    for number, answer in enumerate((first, second)):
        [receipt] = read_receipts(json.dumps(answer))
        assert check_receipt(receipt, service.log.key.verifier).size == number + 1
        shown = service.client.get(f"{ENTRIES}/{number}", headers=searcher).json()
        check_record(receipt, shown["record"].encode())
        assert answer["inclusion"]["commitment"] == shown["commitment"]
    with pytest.raises(ReceiptError, match="another record"):
        check_record(receipt, service.client.get(f"{ENTRIES}/0", headers=searcher).json()["record"].encode())


def another_bit(text: str) -> str:
    body = bytearray(base64.b64decode(text))
    body[7] ^= 1
    return base64.b64encode(body).decode()


def with_another_hash(proof: str) -> str:
    lines = proof.split("\n")
    lines[3] = another_bit(lines[3])
    return "\n".join(lines)


TAMPERED: dict[str, Callable[[dict[str, Any]], None]] = {
    "is not entry 1": lambda i: i.update(commitment=another_bit(i["commitment"])),
    "is not entry 1 ": lambda i: i.update(proof=with_another_hash(i["proof"])),
    "is not entry 0": lambda i: i.update(index=0, proof=i["proof"].replace("index 1", "index 0")),
    "beside a proof of entry 1": lambda i: i.update(index=0),
    "no receipt": lambda i: i.pop("proof"),
    "not a proof": lambda i: i.update(proof=i["proof"][:30]),
    "signature": lambda i: i.update(proof=i["proof"][:-9] + "AAAAAAA=\n"),
}


@pytest.mark.parametrize("said", TAMPERED)
def test_a_receipt_that_was_changed_is_refused(service: Service, said: str) -> None:
    searcher = service.key(KeyRole.SEARCHER)
    service.search(searcher)
    answer = service.search(searcher)
    TAMPERED[said](answer["inclusion"])
    with pytest.raises(ReceiptError, match=said.strip()):
        check_all(answer, service.log)


def check_all(answer: dict[str, Any], log: MemoryAuditLog) -> None:
    for receipt in read_receipts(json.dumps(answer)):
        check_receipt(receipt, log.key.verifier)


def test_a_receipt_of_another_log_is_refused(service: Service) -> None:
    [receipt] = read_receipts(json.dumps(service.search(service.key(KeyRole.SEARCHER))))
    with pytest.raises(ReceiptError, match="not signed by"):
        check_receipt(receipt, SigningKey.generate("pictor.test/log").verifier)


def test_a_receipt_of_a_million_entries_and_three_witnesses_has_2_kb() -> None:
    key = SigningKey.generate("audit.police.example.org/face-search-2026")
    note = str(sign_checkpoint(key, 2**20, b"r" * 32))
    cosignature = f"\u2014 witness.example.org/w1 {base64.b64encode(bytes(4 + 8 + 64)).decode()}\n"
    proof = write_proof(2**20 - 1, [b"h" * 32] * 20, note + 3 * cosignature, extra=b"s" * 32)
    receipt = AuditReceipt(record_id="0" * 32, index=2**20 - 1, commitment=b"c" * 32, proof=proof)
    carried = answer_json(SearchAnswer(query="", receipt=receipt))
    size_bytes = len(json.dumps({name: carried[name] for name in ("receipt", "inclusion")}))
    assert 1024 < size_bytes <= MAX_RECEIPT_BYTES


def test_whoever_searched_sees_the_entry_of_their_search_and_no_other(service: Service) -> None:
    ann, bob = service.key(KeyRole.SEARCHER), service.key(KeyRole.SEARCHER)
    answer = service.search(ann)
    for place in ("0", answer["receipt"]):
        for path in (f"{ENTRIES}/{place}", f"{ENTRIES}/{place}/proof"):
            assert service.client.get(path, headers=ann).status_code == 200
            assert service.client.get(path, headers=bob).json()["code"] == "denied"
    assert service.client.get(f"{ENTRIES}/{'9' * 18}", headers=ann).json()["code"] == "not_found"


def test_an_auditor_sees_the_entries_of_their_tenant_and_is_seen(service: Service) -> None:
    answer = service.search(service.key(KeyRole.SEARCHER))
    auditor, other = service.key(KeyRole.AUDITOR), service.key(KeyRole.AUDITOR, tenant="other")
    shown = service.client.get(f"{ENTRIES}/0", headers=auditor).json()
    assert json.loads(shown["record"])["record_id"] == shown["record_id"] == answer["receipt"]
    assert service.client.get(f"{ENTRIES}/0", headers=other).json()["code"] == "not_found"
    [_, read] = service.log.entries()
    assert (read.found_by["kind"], read.found_by["refers_to"]) == ("read", answer["receipt"])


def test_a_proof_over_http_leads_to_the_checkpoint_over_http(service: Service) -> None:
    service.search(service.key(KeyRole.SEARCHER))
    service.log.append([search_by("eve")])
    auditor = service.key(KeyRole.AUDITOR)
    proof = parse_proof(service.client.get(f"{ENTRIES}/0/proof", headers=auditor).text)
    checkpoint = service.client.get("/v1/audit/checkpoint", headers=auditor).text
    assert str(proof.checkpoint) == checkpoint
    assert open_checkpoint(checkpoint, service.log.key.verifier).size == 2
    assert service.client.get("/v1/audit/key", headers=auditor).text == f"{service.log.vkey}\n"


def test_without_a_log_there_is_no_receipt_and_no_entry(deps: Deps, tmp_path: Path) -> None:
    nothing = Accountability(log=None, policies=MemoryPolicyBook(), index=None)
    backend = replace(backend_of(deps, tmp_path), answers_to=nothing)
    client = client_of(backend)
    for path in ("checkpoint", "key", "entries/0", "entries/0/proof"):
        answer = client.get(f"/v1/audit/{path}")
        assert (answer.json()["code"], "PICTOR_AUDIT" in answer.text) == ("not_found", True)


def test_a_file_of_receipts_is_checked_by_a_command(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    file, record = tmp_path / "receipts", tmp_path / "record.json"
    answer = service.search(service.key(KeyRole.SEARCHER))
    file.write_text(json.dumps(answer) + "\n")
    record.write_bytes(service.log.get(answer["receipt"]).record or b"")

    def check(*more: str) -> tuple[int, str, str]:
        code = pictor(monkeypatch, "audit", "check-receipt", str(file), "--vkey", service.log.vkey, *more)
        output = capsys.readouterr()
        return code, output.out, output.err

    assert check("--record", str(record)) == (
        0,
        f"{answer['receipt']}: entry 0 of 1 of pictor.test/log\n",
        "",
    )
    record.write_text(record.read_text().replace('"k":10', '"k":11'))
    code, _, said = check("--record", str(record))
    assert (code, "is of another record" in said) == (1, True)
    file.write_text((json.dumps(answer) + "\n") * 2)
    code, _, said = check("--record", str(record))
    assert (code, "there are 2 receipts in it" in said) == (1, True)
    file.write_text("")
    code, _, said = check()
    assert (code, "there is no receipt in it" in said) == (1, True)
