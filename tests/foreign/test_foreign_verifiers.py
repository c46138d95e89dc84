"""Programs of others agree with our bytes: Go's packages for transparency logs share nothing with us."""

import base64
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.adapters.folder.store import FolderStore
from pipeline.adapters.ledger.sql_audit_log import open_audit_log
from pipeline.audit.note import SigningKey
from pipeline.audit.place import Place
from pipeline.audit.publish import write_checkpoint, write_tiles
from pipeline.audit.publisher import Publisher
from pipeline.audit.witness_policy import Witness
from pipeline.audit.witnesses import Witnesses
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import KeyRole
from tests.audit_records import MadeTree, search_by
from tests.conftest import missing
from tests.unit.tenant_world import Worlds, image_of
from tests.witness import MemoryWitness

SOURCE = Path(__file__).parent / "go_verifier"
PACKAGES = Path("/usr/share/gocode/src/golang.org/x/mod/sumdb")
KEY = SigningKey.generate("audit.example.org/faces")
ENTRIES, OLD = 600, 300
PROVED = (0, 255, 256, 511, ENTRIES - 1)
LARGE = 66_000  # entries of a tree with a third level
OFFLINE = {"GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GONOSUMDB": "*"}


@dataclass(frozen=True, kw_only=True)
class Published:
    """A log as others get it: files and a public key."""

    folder: Path

    def run(self, program: Path, *, vkey: str = str(KEY.verifier)) -> subprocess.CompletedProcess[str]:
        receipts = sorted(self.folder.glob("*.tlog-proof"))
        words = [program, self.folder / "log", vkey, self.folder / "old_checkpoint", *receipts]
        return subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from Debian's packages alone."""
    if shutil.which("go") is None or not PACKAGES.is_dir():
        missing("no Go with golang.org/x/mod: run `python -m devstack install`")
    built = tmp_path_factory.mktemp("go") / "verifier"
    cache = tmp_path_factory.mktemp("cache")
    subprocess.run(
        ["go", "build", "-o", str(built), "."],
        cwd=SOURCE,
        env=os.environ | OFFLINE | {"GOCACHE": str(cache)},
        check=True,
        timeout=300,
    )
    return built


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    (folder / "log").mkdir()
    place = Place(store=FolderStore(), bucket=str(folder / "log"), prefix="", url="log/")
    witness = MemoryWitness(KEY.verifier)
    asked = Witness(name="w1", key=witness.key, url="https://witness.test")
    records = [search_by("ann", candidates=()) for _ in range(ENTRIES)]
    with open_audit_log(f"sqlite:///{folder}/ledger.db", KEY) as log:
        cosign = Witnesses([asked], witness.post).cosign
        publisher = Publisher(log, KEY.verifier, tiles=place, cosign=cosign)
        log.append(records[:OLD])
        publisher.publish()
        shutil.copy(folder / "log" / "checkpoint", folder / "old_checkpoint")
        log.append(records[OLD:])
        publisher.publish()
        for index in PROVED:
            record_id = records[index].record_id
            proof = folder / f"{index}.tlog-proof"
            proof.write_text(log.prove(record_id).proof)
            proof.with_name(proof.name + ".entry").write_bytes(
                base64.b64encode(log.get(record_id).commitment)
            )
    return folder


def test_go_agrees_with_every_tile_entry_proof_and_signature(made: Path, program: Path) -> None:
    done = Published(folder=made).run(program)
    assert (done.returncode, done.stdout) == (0, f"{ENTRIES} entries, {len(PROVED)} receipts\n"), done.stderr


def test_go_agrees_with_a_tree_of_three_levels(program: Path, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    place = Place(store=FolderStore(), bucket=str(tmp_path / "log"), prefix="", url="log/")
    tree = MadeTree([b"%032d" % number for number in range(LARGE)], KEY)
    write_tiles(tree, place, LARGE, since=0)
    write_checkpoint(tree, place, tree.head().checkpoint, KEY.verifier)
    shutil.copy(tmp_path / "log" / "checkpoint", tmp_path / "old_checkpoint")
    assert (tmp_path / "log" / "tile" / "2" / "000.p" / "1").exists()
    done = Published(folder=tmp_path).run(program)
    assert (done.returncode, done.stdout) == (0, f"{LARGE} entries, 0 receipts\n"), done.stderr


def test_go_agrees_with_the_receipt_of_an_answer_over_http(program: Path, tmp_path: Path) -> None:
    worlds = Worlds(tmp_path)
    searcher = worlds.make_key("acme", KeyRole.SEARCHER)
    with worlds.world() as world:
        for _ in range(3):
            asked = {"query": {"id": image_of("images")}}
            found = world.client.post("/v1/collections/images/search", json=asked, headers=searcher).json()
        log = world.backend.answers_to.log
    assert isinstance(log, MemoryAuditLog)
    (tmp_path / "log").mkdir()
    place = Place(store=FolderStore(), bucket=str(tmp_path / "log"), prefix="", url="log/")
    write_tiles(log, place, 3, since=0)
    write_checkpoint(log, place, log.head().checkpoint, log.key.verifier)
    shutil.copy(tmp_path / "log" / "checkpoint", tmp_path / "old_checkpoint")
    receipt = found["answers"][0]["inclusion"]
    (tmp_path / "answer.tlog-proof").write_text(receipt["proof"])
    (tmp_path / "answer.tlog-proof.entry").write_text(receipt["commitment"])
    done = Published(folder=tmp_path).run(program, vkey=log.vkey)
    assert (done.returncode, done.stdout) == (0, "3 entries, 1 receipts\n"), done.stderr


@pytest.mark.parametrize(
    ("name", "byte", "said"),
    [
        ("log/tile/0/001", 17, "inconsistent tile"),
        ("log/tile/1/000.p/2", 63, "inconsistent tile"),
        ("log/tile/entries/001", 40, "the entries do not make the root"),
        ("log/checkpoint", 40, "malformed|invalid|verif"),
        ("old_checkpoint", 40, "malformed|invalid|verif"),
        ("255.tlog-proof", 160, "invalid|malformed|cannot"),
        (
            "255.tlog-proof.entry",
            5,
            "invalid|illegal base64",
        ),  # the entry is random, and so is what it becomes
    ],
)
def test_go_refuses_what_has_one_character_changed(
    made: Path, program: Path, name: str, byte: int, said: str
) -> None:
    file = made / name
    body = file.read_bytes()
    other = bytes([body[byte] ^ 1])
    file.write_bytes(body[:byte] + other + body[byte + 1 :])
    try:
        done = Published(folder=made).run(program)
    finally:
        file.write_bytes(body)
    assert done.returncode == 1
    assert any(word in done.stderr for word in said.split("|")), done.stderr


def test_go_refuses_the_key_of_another_log(made: Path, program: Path) -> None:
    other = str(SigningKey.generate("audit.example.org/faces").verifier)
    assert "note has no verifiable signatures" in Published(folder=made).run(program, vkey=other).stderr
