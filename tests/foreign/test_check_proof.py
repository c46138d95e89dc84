"""The script of the docs checks a proof with OpenSSL and jq, and nothing of ours."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.testing.memory_audit import MemoryAuditLog
from tests.audit_records import search_by
from tests.conftest import REPOSITORY, missing

SCRIPT = REPOSITORY / "docs" / "check_proof.sh"
Altered = Callable[[str], str]


def check(
    folder: Path, entry: int, size: int, alter: dict[str, Altered]
) -> "subprocess.CompletedProcess[str]":
    log = MemoryAuditLog("log.example/faces")
    log.append([search_by("ann", minute=minute) for minute in range(size)])
    record = next(log.entries(start=entry))
    texts = {
        "proof": log.prove(record.record_id).proof,
        "record": json.dumps(json.loads(record.record or b""), indent=1),
        "key": f"{log.vkey}\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(alter.get(name, str)(text))
    return subprocess.run(
        ["sh", str(SCRIPT), "proof", "record", "key"], cwd=folder, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(autouse=True)
def _tools() -> None:
    for tool in ("openssl", "jq"):
        if shutil.which(tool) is None:
            missing(f"{tool} is not installed")


@pytest.mark.parametrize(("entry", "size"), [(0, 1), (0, 2), (6, 7), (3, 8)])
def test_a_record_that_is_in_the_tree_is_proved(tmp_path: Path, entry: int, size: int) -> None:
    done = check(tmp_path, entry, size, {})
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"the record is in the tree of {size} entries\nSignature Verified Successfully\n"


@pytest.mark.parametrize(
    "alter",
    [
        {"record": lambda text: text.replace('"ann"', '"eve"')},
        {"proof": lambda text: text.replace("index 3", "index 2")},
        {"proof": lambda text: re.sub(r"(?<=\n)8\n", "7\n", text)},
        {"proof": lambda text: re.sub(r"(?<=index 3\n)....", "AAAA", text)},
        {"proof": lambda text: re.sub(r"(?<=— log.example/faces .{40})....", "AAAA", text)},
        {"key": lambda _: MemoryAuditLog("log.example/faces").vkey},
    ],
)
def test_what_is_altered_is_not_proved(tmp_path: Path, alter: dict[str, Altered]) -> None:
    assert check(tmp_path, 3, 8, alter).returncode != 0
