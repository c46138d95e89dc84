"""Fetching a model of a hub: what is taken, what is refused, and what is checked later."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from pipeline.adapters.models.catalogue import pull_model
from pipeline.adapters.models.hf.digests import DIGESTS, open_checked
from pipeline.adapters.models.hf.hub import HubFile, HubModel, complete
from pipeline.adapters.models.hf.pull import pull
from pipeline.errors import ModelError

COMMIT = "c0ffee" * 6 + "c0ff"
NAME = "hf/acme/clip"
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"tensors",
    "preprocessor_config.json": b"{}",
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"pickle",
    "modeling_clip.py": b"code",
    "onnx/model.onnx": b"another format",
}


class MemoryHub:
    """A hub with one model. `broken` are files that come as something else."""

    def __init__(self, files: Mapping[str, bytes], broken: Sequence[str] = ()) -> None:
        self._files = files
        self.broken = set(broken)

    def describe(self, repository: str, revision: str) -> HubModel:
        files = [
            HubFile(name=name, size_bytes=len(body), sha256=hashlib.sha256(body).hexdigest())
            for name, body in self._files.items()
        ]
        return HubModel(repository=repository, commit=COMMIT, files=files)

    def download(self, model: HubModel, files: Sequence[HubFile], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            if not (folder / file.name).exists():
                body = b"cut" if file.name in self.broken else self._files[file.name]
                (folder / file.name).write_bytes(body)


def fetch(folder: Path, hub: MemoryHub) -> list[str]:
    return list(pull(NAME, weights_dir=folder, revision="main", hub=hub).files)


def test_settings_and_safetensors_are_taken_and_neither_code_nor_pickles(tmp_path: Path) -> None:
    wanted = ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"]
    assert fetch(tmp_path, MemoryHub(FILES)) == wanted
    folder = tmp_path / "hf" / "acme" / "clip"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*wanted, DIGESTS])
    note = json.loads((folder / DIGESTS).read_text())
    assert (note["model"], note["commit"]) == (NAME, COMMIT)
    assert note["files"]["model.safetensors"] == hashlib.sha256(b"tensors").hexdigest()


def test_weights_in_several_files_come_with_their_index(tmp_path: Path) -> None:
    shards = {"a.safetensors": b"1", "b.safetensors": b"2", "model.safetensors.index.json": b"{}"}
    found = fetch(tmp_path, MemoryHub({"config.json": b"{}", **shards}))
    assert found == ["a.safetensors", "b.safetensors", "config.json", "model.safetensors.index.json"]


def test_a_file_that_is_not_what_was_promised_is_removed_and_fetched_again(tmp_path: Path) -> None:
    hub = MemoryHub(FILES, broken=["model.safetensors"])
    with pytest.raises(ModelError, match=r"SHA-256 is [0-9a-f]{64}, [0-9a-f]{64} was promised"):
        fetch(tmp_path, hub)
    assert not (tmp_path / NAME / DIGESTS).exists()
    hub.broken.clear()
    assert "model.safetensors" in fetch(tmp_path, hub)


class CutLine:
    """Gives a file from where it is asked to, and breaks off after some bytes."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked: list[int] = []
        self.most_bytes = len(body)

    def __call__(self, file: HubFile, part: BinaryIO, have_bytes: int) -> None:
        self.asked.append(have_bytes)
        sent = self.body[have_bytes:][: self.most_bytes]
        part.write(sent)
        if have_bytes + len(sent) < len(self.body):
            raise ConnectionError


def hub_file(name: str, body: bytes, *, sha256: str = "") -> HubFile:
    return HubFile(name=name, size_bytes=len(body), sha256=sha256)


def test_a_file_that_broke_off_goes_on_where_it_was(tmp_path: Path) -> None:
    line = CutLine(b"many tensors")
    file = hub_file("model.safetensors", line.body, sha256=hashlib.sha256(line.body).hexdigest())
    line.most_bytes = 5
    for _ in range(2):
        with pytest.raises(ConnectionError):
            complete(file, tmp_path, line)
        assert not (tmp_path / file.name).exists()
    complete(file, tmp_path, line)
    complete(file, tmp_path, line)
    assert line.asked == [0, 5, 10]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [line.body]


def test_weights_of_another_version_are_fetched_from_their_beginning(tmp_path: Path) -> None:
    for body in (b"old tensors", b"new tensors, more of them"):
        line = CutLine(body)
        complete(hub_file("net.safetensors", body, sha256=hashlib.sha256(body).hexdigest()), tmp_path, line)
        assert line.asked == [0]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [body]


def test_a_small_file_is_fetched_whole_each_time(tmp_path: Path) -> None:
    line = CutLine(b"{settings}")
    file = hub_file("config.json", line.body)
    line.most_bytes = 3
    with pytest.raises(ConnectionError):
        complete(file, tmp_path, line)
    line.most_bytes = 99
    complete(file, tmp_path, line)
    complete(file, tmp_path, line)
    assert line.asked == [0, 0, 0]
    assert (tmp_path / "config.json").read_bytes() == line.body


REFUSED = {
    "pickles alone": ({"config.json": b"{}", "pytorch_model.bin": b""}, "found pytorch_model.bin, a pickle"),
    "no weights": ({"config.json": b"{}"}, "found none"),
    "no configuration": ({"model.safetensors": b""}, "holds no config.json"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_that_could_not_be_used_is_not_fetched(tmp_path: Path, case: str) -> None:
    files, message = REFUSED[case]
    with pytest.raises(ModelError, match=message):
        fetch(tmp_path, MemoryHub(files))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["hf/", "hf/../x", "hf/a/b/c", "hf/a/..", "hf/.a/b", "hf/a b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="a name of the hub looks like hf/ORG/NAME"):
        pull(name, weights_dir=tmp_path, revision="main", hub=MemoryHub(FILES))


def test_a_file_that_changed_since_it_was_fetched_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    fetch(tmp_path, MemoryHub(FILES))
    folder = tmp_path / "hf" / "acme" / "clip"
    assert open_checked(folder, NAME).weights == [folder / "model.safetensors"]
    (folder / "model.safetensors").write_bytes(b"other tensors")
    with pytest.raises(ModelError, match=r"SHA-256 is [0-9a-f]{64}, [0-9a-f]{64} was fetched"):
        open_checked(folder, NAME)
    (folder / "model.safetensors").rename(folder / "moved.safetensors")
    with pytest.raises(ModelError, match=r"weights in model.safetensors are expected"):
        open_checked(folder, NAME)


@pytest.mark.parametrize("address", ["builtin", "."])
def test_a_model_without_a_hub_has_nothing_to_download(tmp_path: Path, address: str) -> None:
    with pytest.raises(ModelError, match=f"model '{address}' has nothing to download"):
        pull_model(address, weights_dir=tmp_path)
