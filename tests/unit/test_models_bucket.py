"""Models whose folder lies in a bucket: fetched once, whole or not at all, and checked."""

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.adapters.models.catalogue import list_files, load_spec
from pipeline.adapters.models.hf.bucket import fetch_folder
from pipeline.adapters.models.hf.digests import DIGESTS
from pipeline.errors import ImageError, ModelError
from pipeline.reasons import Reason
from tests.hf_models import save_model

URL = "s3://models/team/acme/net"
FILES = {"config.json": b"{}", "a.safetensors": b"one", "b.safetensors": b"two"}


class Bucket:
    """Objects by URL. `asked` are the names that were read, in order."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []

    def place(self, url: str, files: dict[str, bytes]) -> "Bucket":
        digests = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
        note = json.dumps({"files": digests}).encode()
        self.objects |= {f"{url}/{name}": body for name, body in {**files, DIGESTS: note}.items()}
        return self

    def __call__(self, url: str) -> bytes:
        self.asked.append(url.rsplit("/", 1)[-1])
        if url not in self.objects:
            raise ImageError(Reason.NOT_FOUND, "no such object")
        return self.objects[url]


def fetch(bucket: Bucket, weights_dir: Path, url: str = URL) -> Path:
    return fetch_folder(url, weights_dir=weights_dir, fetch_s3=bucket, name="net")


def test_a_folder_is_fetched_once(tmp_path: Path) -> None:
    bucket = Bucket().place(URL, FILES)
    folder = fetch(bucket, tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != DIGESTS} == FILES
    assert bucket.asked == [DIGESTS, *FILES]
    assert fetch(bucket, tmp_path, f"{URL}/") == folder
    assert bucket.asked == [DIGESTS, *FILES]


def test_after_a_failure_only_what_is_missing_is_fetched(tmp_path: Path) -> None:
    bucket = Bucket().place(URL, FILES)
    del bucket.objects[f"{URL}/b.safetensors"]
    with pytest.raises(ModelError, match=r"net: weights s3://models/team/acme/net/b.safetensors"):
        fetch(bucket, tmp_path)
    (folder,) = (tmp_path / "s3").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["a.safetensors", "config.json"]
    bucket.place(URL, FILES).asked.clear()
    assert fetch(bucket, tmp_path) == folder
    assert bucket.asked == [DIGESTS, "b.safetensors"]


def test_a_file_that_is_not_what_the_note_says_is_not_kept(tmp_path: Path) -> None:
    bucket = Bucket().place(URL, FILES)
    bucket.objects[f"{URL}/a.safetensors"] = b"another"
    with pytest.raises(ModelError, match=r"a.safetensors: SHA-256 is [0-9a-f]{64}, [0-9a-f]{64} was prom"):
        fetch(bucket, tmp_path)
    assert not list(tmp_path.rglob("a.safetensors"))
    assert not list(tmp_path.rglob(DIGESTS))


def test_a_folder_without_a_note_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"needs the pictor-digests\.json that `pictor models pull MODEL` wrote"
    ):
        fetch(Bucket(), tmp_path)


@pytest.mark.parametrize(
    ("file", "digest"),
    [
        ("../config.json", "0" * 64),
        ("net.bin", "0" * 64),
        ("modeling.py", "0" * 64),
        ("config.json", "0" * 8),
        ("config.json", 7),
    ],
)
def test_a_note_leads_nowhere_else_and_names_no_code(tmp_path: Path, file: str, digest: object) -> None:
    bucket = Bucket()
    bucket.objects[f"{URL}/{DIGESTS}"] = json.dumps({"files": {file: digest}}).encode()
    with pytest.raises(ModelError, match=r"expected"):
        fetch(bucket, tmp_path)
    assert bucket.asked == [DIGESTS]


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = save_model("vit", tmp_path_factory.mktemp("vit") / "vit")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_file(folder: Path, weights: str) -> str:
    path = folder / "net.toml"
    path.write_text(f'name = "net"\narchitecture = "hf"\nweights = "{weights}"\n')
    return str(path)


def test_a_model_file_may_name_a_folder_in_a_bucket(tmp_path: Path, vit: dict[str, bytes]) -> None:
    bucket = Bucket().place(URL, vit)
    spec = load_spec(write_file(tmp_path, URL), weights_dir=tmp_path, fetch_s3=bucket)
    assert (spec.name, spec.dim) == ("net", 32)


def test_a_hub_s_name_is_looked_for_here_and_then_in_the_store(tmp_path: Path, vit: dict[str, bytes]) -> None:
    bucket = Bucket().place(URL, vit)

    def spec(address: str, weights_dir: Path) -> str:
        return load_spec(
            address, weights_dir=weights_dir, fetch_s3=bucket, model_store="s3://models/team/"
        ).fingerprint

    by_name = spec("hf/acme/net", tmp_path / "a")
    assert spec(write_file(tmp_path, "hf/acme/net"), tmp_path / "b") == by_name
    bucket.asked.clear()
    here = tmp_path / "c" / "hf" / "acme" / "net"
    here.mkdir(parents=True)
    for name, body in vit.items():
        (here / name).write_bytes(body)
    assert spec("hf/acme/net", tmp_path / "c") == by_name
    assert bucket.asked == []


def test_whoever_gives_rights_is_told_the_folder(tmp_path: Path) -> None:
    files = list_files(write_file(tmp_path, URL))
    assert [file.location for file in files] == [f"{URL}/"]
    assert list_files(write_file(tmp_path, "hf/acme/net")) == ()
