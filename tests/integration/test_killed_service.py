"""`pictor serve` dies under load, again and again. Each answer that somebody got has its entry in the log."""

import json
import random
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.folder.store import FolderStore
from pipeline.adapters.ledger.sql_audit_log import open_audit_log
from pipeline.audit.checkpoint import NamedCheckpoint
from pipeline.audit.key_file import load_or_make_key
from pipeline.audit.place import Place
from pipeline.audit.receipt_file import check_receipt, read_receipts
from pipeline.audit.verify import verify_log
from pipeline.demo.scenes import draw_scene
from tests.cli import Pictor
from tests.integration.test_serve import start, url_of

CLIENTS, KILLS = 4, 8
LIMIT_S = 120.0


@pytest.mark.repeat
def test_no_answer_of_a_killed_service_is_without_its_entry(pictor: Pictor, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    draw_scene(seed=4712).save(tmp_path / "pictures" / "a.png")
    pictor("ingest", tmp_path / "pictures")
    image_id = pictor("search", tmp_path / "pictures" / "a.png", "--json").last["hits"][0]["id"]
    answers: list[dict[str, Any]] = []
    chance = random.Random(12)
    for _ in range(KILLS):
        answers += answers_until_killed(pictor, image_id, at_least=chance.randint(1, 60))
    assert len(answers) >= KILLS
    check_answers(answers, pictor.home)


def answers_until_killed(pictor: Pictor, image_id: str, *, at_least: int) -> list[dict[str, Any]]:
    """All that clients were answered by a service that is killed after so many answers."""
    process = start(pictor)
    url, answers, enough = url_of(process), list[dict[str, Any]](), threading.Event()

    def ask_for_ever() -> None:
        for answer in answers_of(url, image_id):
            answers.append(answer)
            if len(answers) >= at_least:
                enough.set()

    clients = [threading.Thread(target=ask_for_ever) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    assert enough.wait(LIMIT_S)
    process.kill()
    process.communicate(timeout=LIMIT_S)
    for client in clients:
        client.join(LIMIT_S)
    return answers


def answers_of(url: str, image_id: str) -> Iterator[dict[str, Any]]:
    """Until the service is there no more."""
    body = json.dumps({"query": {"id": image_id}, "k": 1}).encode()
    headers = {"content-type": "application/json"}
    asked = urllib.request.Request(f"{url}/v1/collections/images/search", data=body, headers=headers)  # noqa: S310
    while True:
        try:
            with urllib.request.urlopen(asked, timeout=LIMIT_S) as answer:  # noqa: S310
                found = json.loads(answer.read())
        except (OSError, ValueError):
            return
        yield found["answers"][0]


def check_answers(answers: list[dict[str, Any]], home: Path) -> None:
    key = load_or_make_key(home, "")
    receipts = list(read_receipts("\n".join(map(json.dumps, answers))))
    signed = [check_receipt(receipt, key.verifier) for receipt in receipts]
    others = [NamedCheckpoint(name="a receipt", checkpoint=checkpoint) for checkpoint in signed]
    place = Place(store=FolderStore(), bucket=str(home / "audit"), prefix="", url="audit/")
    with open_audit_log(f"sqlite:///{home}/ledger.db", key) as log:
        for receipt in receipts:
            assert log.get(receipt.record_id).commitment == receipt.commitment
        assert not verify_log(log, key.verifier, place=place, others=others).faults
