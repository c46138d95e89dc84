"""Sources, weights files and fingerprints, on small state dicts made here."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor
from typer.testing import CliRunner

from pipeline.adapters.models.backends.backend import Backend
from pipeline.adapters.models.backends.choose import FOLDER
from pipeline.adapters.models.backends.exported import exported
from pipeline.adapters.models.backends.int8 import keep
from pipeline.adapters.models.catalogue import list_models, load_embedder, load_spec
from pipeline.adapters.models.torchvision_models import fill, lay_out, published_model
from pipeline.adapters.models.weights import WeightsRef, cached_path, find_weights, published_ref
from pipeline.cli.app import app
from pipeline.errors import ConfigError, ImageError, ModelError
from pipeline.settings import Settings
from pipeline.types import ModelSpec, Preprocessing, Reason
from tests.unit.test_doctor import find as find_component

ARCHITECTURE = "squeezenet1_1"  # 3 MB


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    wanted = lay_out(ARCHITECTURE, side=224).module.state_dict()
    return {name: 0.1 * torch.randn(want.shape, generator=generator) for name, want in wanted.items()}


def save(tensors: dict[str, Tensor], path: Path) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def write_model(folder: Path, file: str = "m.toml", **changes: str) -> Path:
    """A model file whose every value is TOML source; an empty one leaves the key out."""
    lines = {
        "name": '"mine"',
        "architecture": f'"torchvision/{ARCHITECTURE}"',
        "weights": '"w.safetensors"',
        "crop": "64",
        **changes,
    }
    path = folder / file
    path.write_text("".join(f"{key} = {value}\n" for key, value in lines.items() if value))
    return path


def spec_of(path: Path) -> ModelSpec:
    return load_spec(str(path), weights_dir=path.parent / "cache")


def serve(body: bytes) -> Callable[[str], io.BytesIO]:
    return lambda _url: io.BytesIO(body)


def refuse_to_connect(url: str) -> io.BytesIO:
    raise urllib.error.URLError(ConnectionRefusedError(111, "refused"))


# Model files


def test_a_model_file_gives_an_embedder(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save(tensors, tmp_path / "w.safetensors")
    model = write_model(tmp_path, resize="72", mean="[0, 0.5, 1]", std="[1, 2, 3.5]")
    embedder = load_embedder(str(model), weights_dir=tmp_path, device="cpu", group_items=2)
    assert embedder.spec == spec_of(model)
    assert embedder.spec.name == "mine"
    assert embedder.spec.address == str(model)
    assert embedder.spec.preprocessing == Preprocessing(
        resize=72, crop=64, mean=(0.0, 0.5, 1.0), std=(1.0, 2.0, 3.5)
    )
    rows = embedder.embed_images(np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), np.uint8))
    assert rows.shape == (3, 512)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_the_trial_of_backends_is_shown_and_named_by_doctor(
    tmp_path: Path, tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tensors, tmp_path / "w.safetensors")
    model = write_model(tmp_path)
    settings = Settings.model_validate(
        {"home": tmp_path, "model": str(model), "device": "cpu", "backend": "auto"}
    )
    assert "the first job tries them" in find_component("backend", settings).found
    home = tmp_path / "home"
    settings = settings.model_copy(update={"home": home})
    for name, value in {"HOME": home, "BACKEND": "auto"}.items():
        monkeypatch.setenv(f"PICTOR_{name}", str(value))
    shown = CliRunner().invoke(app, ["models", "bench", str(model), "--json"])
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [line["backend"] for line in lines] == ["torch", "onnxruntime", "openvino"]
    assert home.stat().st_mode & 0o077 == 0
    [chosen] = [line for line in lines if line["chosen"]]
    assert chosen["cosine"] >= 0.999
    assert f"{chosen['backend']} in {chosen['precision']}, " in find_component("backend", settings).found


def test_a_model_in_int8_has_one_fingerprint_whether_it_is_described_or_loaded(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    save(tensors, tmp_path / "w.safetensors")
    model = str(write_model(tmp_path))
    with pytest.raises(ModelError, match="no calibration of it; `pictor models calibrate"):
        load_spec(model, weights_dir=tmp_path, precision="int8")
    plain = load_spec(model, weights_dir=tmp_path)
    module = fill(lay_out(ARCHITECTURE, side=64), tensors, where="mine")
    with exported(module, plain, tmp_path / FOLDER) as network:  # stands for one that passed the guard
        keep(network, plain, Backend.ONNXRUNTIME, images=500, recall=1.0, folder=tmp_path / FOLDER)
    spec = load_spec(model, weights_dir=tmp_path, precision="int8")
    embedder = load_embedder(
        model, weights_dir=tmp_path, device="cpu", precision="int8", backend="auto", group_items=2
    )
    assert spec == embedder.spec
    assert spec.fingerprint != plain.fingerprint
    assert embedder.device == "cpu (onnxruntime)"
    rows = embedder.embed_images(np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), np.uint8))
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    settings = {"home": tmp_path, "model_dir": tmp_path, "model": model, "device": "cpu", "precision": "int8"}
    found = find_component("backend", Settings.model_validate(settings)).found
    assert found == "the one that the model was calibrated with for int8"


def test_the_builtin_model_has_no_form_in_int8(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="PICTOR_PRECISION is int8, and model 'builtin' has no form in int8"
    ):
        load_spec("builtin", weights_dir=tmp_path, precision="int8")


def test_missing_preprocessing_is_that_of_the_published_weights(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    save(tensors, tmp_path / "w.safetensors")
    spec = spec_of(write_model(tmp_path, crop=""))
    assert spec.preprocessing == published_model(ARCHITECTURE).preprocessing


def test_a_stretched_input_has_no_resize_of_its_own(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save(tensors, tmp_path / "w.safetensors")
    one = spec_of(write_model(tmp_path, fit='"stretch"', resize="300"))
    other = spec_of(write_model(tmp_path, fit='"stretch"'))
    assert one.fingerprint == other.fingerprint
    assert one.preprocessing.resize == 64


FAULTS = {
    "unknown key": ({"colour": "1"}, r"unknown key 'colour'; known are name, architecture"),
    "no weights": ({"weights": ""}, r"key 'weights' is missing; required are name, architecture, weights"),
    "another source": (
        {"architecture": '"keras/x"'},
        r"'keras/x', it must be one of torchvision/NAME",
    ),
    "may run code": ({"architecture": '"torch.export"'}, r"torch can run code of theirs.*to ONNX"),
    "misspelt": ({"architecture": '"torchvision/squeezenet"'}, r"did you mean squeezenet1_"),
    "text for a number": ({"crop": '"64"'}, r"crop = '64', it must be a whole number of 1 to 2048"),
    "true for a number": ({"crop": "true"}, r"crop = True, it must be a whole number"),
    "huge": ({"crop": "100000"}, r"crop = 100000"),
    "two channels": ({"mean": "[0.1, 0.2]"}, r"mean = \[0.1, 0.2\], it must be three numbers"),
    "not a number": ({"mean": "[nan, 0, 0]"}, r"it must be three numbers"),
    "zero std": ({"std": "[0, 1, 1]"}, r"std = \[0, 1, 1\], it must be three numbers above zero"),
    "bad digest": ({"sha256": '"abc"'}, r"sha256 = 'abc', it must be 64 hexadecimal digits"),
    "nearest": ({"interpolation": '"nearest"'}, r'it must be "bilinear" or "bicubic" or "lanczos"'),
    "list for text": ({"fit": "[1]"}, r'fit = \[1\], it must be "crop" or "stretch" or "squash" or "pad"'),
    "resize under crop": ({"resize": "32"}, r"resize = 32 is under crop = 64"),
    "a web page": ({"weights": '"https://example.org/w.pth"'}, r"it must be a path or s3:// URL"),
    "too small": ({"crop": "4"}, r"cannot take images of 4x4 px"),
    "no such file": ({"weights": '"gone.pth"'}, r"gone.pth: there is no such file"),
    "another format": ({"weights": '"w.onnx"'}, r"must end in one of .safetensors, .pth, .pt"),
    "not TOML": ({"crop": "= 3"}, r"m.toml is not TOML at line 4, column"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_model_file_is_refused_by_name(
    tmp_path: Path, tensors: dict[str, Tensor], fault: str
) -> None:
    save(tensors, tmp_path / "w.safetensors")
    change, message = FAULTS[fault]
    with pytest.raises(ModelError, match=message):
        spec_of(write_model(tmp_path, **change))


@pytest.mark.parametrize("source", ["", "resnet50", "torchvision/nothing", "builtin ", "gone.toml"])
def test_an_unknown_source_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(ModelError):
        load_spec(source, weights_dir=tmp_path)


def test_a_model_file_that_is_a_folder_or_binary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="cannot be read"):
        spec_of(tmp_path / "folder.toml")
    with pytest.raises(ModelError, match="not UTF-8 text"):
        spec_of(tmp_path / "binary.toml")


# Weights files


def drop(tensors: dict[str, Tensor]) -> None:
    del tensors["features.0.weight"]


def add(tensors: dict[str, Tensor]) -> None:
    tensors["layer9.weight"] = torch.zeros(1)


def reshape(tensors: dict[str, Tensor]) -> None:
    tensors["features.0.bias"] = torch.zeros(3)


def quantize(tensors: dict[str, Tensor]) -> None:
    tensors["features.0.bias"] = torch.zeros(64, dtype=torch.int8)


def poison(tensors: dict[str, Tensor]) -> None:
    tensors["features.0.bias"] = torch.full((64,), torch.nan)


MISFITS = {
    "missing": (drop, r"missing tensors: 1 \(features.0.weight\); the file holds 49, 50 are wanted"),
    "unexpected": (add, r"unknown tensors: 1 \(layer9.weight\); the file holds 51, 50 are wanted"),
    "shape": (reshape, r"tensor features.0.bias is \[3\], \[64\] is wanted"),
    "integers": (quantize, r"tensor features.0.bias is torch.int8, torch.float32 is wanted"),
    "not finite": (poison, r"tensor features.0.bias holds values that are not finite"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_weights_that_do_not_fit_are_refused_by_tensor(
    tmp_path: Path, tensors: dict[str, Tensor], misfit: str
) -> None:
    change: Callable[[dict[str, Tensor]], None]
    change, message = MISFITS[misfit]
    changed = dict(tensors)
    change(changed)
    path = save(changed, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=message) as caught:
        spec_of(write_model(tmp_path))
    assert str(caught.value).startswith(f"mine: weights {path} for torchvision/{ARCHITECTURE}: ")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("kept", [0, 100, 1_000_000])
def test_a_cut_off_weights_file_is_refused(
    tmp_path: Path, tensors: dict[str, Tensor], name: str, kept: int
) -> None:
    path = save(tensors, tmp_path / name)
    os.truncate(path, kept)
    with pytest.raises(ModelError, match=f"weights {re.escape(str(path))}: .*damaged"):
        spec_of(write_model(tmp_path, weights=f'"{name}"'))


class RunsCode:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)

    def __init__(self, folder: Path) -> None:
        self.folder = folder


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"features.0.weight": RunsCode(tmp_path / "ran")}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="a pickle with more than tensors, which could run code"):
        spec_of(write_model(tmp_path, weights='"w.pth"'))
    assert not (tmp_path / "ran").exists()


def test_a_training_checkpoint_is_refused_by_its_first_entry(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    torch.save({"epoch": 3, "state_dict": tensors}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="entry 'epoch' is a int; a flat state_dict"):
        spec_of(write_model(tmp_path, weights='"w.pth"'))
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(ModelError, match="holds a list, a state_dict was expected"):
        spec_of(write_model(tmp_path, weights='"w.pth"'))


def test_a_promised_digest_is_checked(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = save(tensors, tmp_path / "w.safetensors")
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert spec_of(write_model(tmp_path, sha256=f'"{right.upper()}"')).dim == 512
    with pytest.raises(ModelError, match=f"SHA-256 is {right}, {'0' * 64} was promised"):
        spec_of(write_model(tmp_path, sha256=f'"{"0" * 64}"'))


# Fingerprints


def test_the_fingerprint_is_of_content_and_not_of_names_places_or_formats(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    (tmp_path / "deep").mkdir()
    save(tensors, tmp_path / "w.safetensors")
    save(dict(reversed(tensors.items())), tmp_path / "deep" / "other.pth")
    one = spec_of(write_model(tmp_path))
    other = spec_of(write_model(tmp_path / "deep", "n.toml", weights='"other.pth"', name='"another"'))
    assert one.fingerprint == other.fingerprint
    assert re.fullmatch("[0-9a-f]{64}", one.fingerprint)


def test_the_classifier_that_is_cut_off_takes_no_part(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save(tensors, tmp_path / "w.safetensors")
    save({**tensors, "classifier.1.weight": torch.ones(7, 512, 1, 1)}, tmp_path / "whole.safetensors")
    assert (
        spec_of(write_model(tmp_path)).fingerprint
        == spec_of(write_model(tmp_path, weights='"whole.safetensors"')).fingerprint
    )


@pytest.mark.parametrize(
    "change",
    [
        {"crop": "65"},
        {"resize": "300"},
        {"mean": "[0, 0, 0]"},
        {"std": "[1, 1, 1]"},
        {"interpolation": '"bicubic"'},
        {"fit": '"stretch"'},
    ],
)
def test_other_preprocessing_is_another_fingerprint(
    tmp_path: Path, tensors: dict[str, Tensor], change: dict[str, str]
) -> None:
    save(tensors, tmp_path / "w.safetensors")
    assert spec_of(write_model(tmp_path)).fingerprint != spec_of(write_model(tmp_path, **change)).fingerprint


def test_one_changed_weight_is_another_fingerprint(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save(tensors, tmp_path / "w.safetensors")
    before = spec_of(write_model(tmp_path)).fingerprint
    changed = {name: tensor.clone() for name, tensor in tensors.items()}
    changed["features.12.expand3x3.bias"][-1] += 1e-3
    save(changed, tmp_path / "w.safetensors")
    assert spec_of(write_model(tmp_path)).fingerprint != before


def test_another_process_finds_the_same_fingerprint(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save(tensors, tmp_path / "w.safetensors")
    model = write_model(tmp_path)
    code = (
        "import sys; from pathlib import Path; from pipeline.adapters.models.catalogue import load_spec; "
        "print(*(load_spec(source, weights_dir=Path('.')).fingerprint for source in sys.argv[1:]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(model), "builtin"], capture_output=True, text=True, check=True
    )
    builtin = load_spec("builtin", weights_dir=tmp_path)
    assert answer.stdout.split() == [spec_of(model).fingerprint, builtin.fingerprint]


# Fetching


def test_without_a_network_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_spec("torchvision/resnet18", weights_dir=tmp_path, open_url=refuse_to_connect)
    message = str(caught.value)
    assert message.startswith("torchvision/resnet18: weights resnet18-")
    assert f"place the file at {cached_path(published_model('resnet18').weights, tmp_path)}" in message
    assert "model file (.toml)" in message
    assert list(tmp_path.iterdir()) == []


def test_a_refused_loopback_connection_is_no_traceback_either(tmp_path: Path) -> None:
    ref = WeightsRef(location="http://127.0.0.1:9/w.pth")  # the discard port; nothing listens
    with pytest.raises(ModelError, match="could not fetch"):
        find_weights(ref, model="m", weights_dir=tmp_path)


def test_an_answer_of_404_is_told(tmp_path: Path) -> None:
    def answer_404(url: str) -> io.BytesIO:
        raise urllib.error.HTTPError(url, 404, "no", {}, None)  # type: ignore[arg-type]

    with pytest.raises(ModelError, match="the server answered 404"):
        load_spec("torchvision/resnet18", weights_dir=tmp_path, open_url=answer_404)


def test_published_weights_are_fetched_once_and_whole(tmp_path: Path) -> None:
    body = b"weights" * 1000
    ref = published_ref(f"https://example.org/m-{hashlib.sha256(body).hexdigest()[:8]}.pth")
    asked: list[str] = []

    def count(url: str) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(body)

    for _ in range(2):
        path = find_weights(ref, model="m", weights_dir=tmp_path / "new" / "folder", open_url=count)
        assert path.read_bytes() == body
    assert asked == [ref.location]
    assert [found.name for found in path.parent.iterdir()] == [ref.file_name]


def test_a_wrong_download_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"SHA-256 is [0-9a-f]{64}, f37072fd was promised"):
        load_spec("torchvision/resnet18", weights_dir=tmp_path, open_url=serve(b"a login page"))
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    class BreaksOff(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            if self.tell():
                raise ConnectionResetError(104, "reset")
            return super().read(5)

    def break_off(url: str) -> io.BytesIO:
        return BreaksOff(b"half of it")

    with pytest.raises(ModelError, match="could not fetch"):
        load_spec("torchvision/resnet18", weights_dir=tmp_path, open_url=break_off)
    assert list(tmp_path.iterdir()) == []


def test_a_placed_file_that_is_not_the_published_one_is_not_taken(tmp_path: Path) -> None:
    path = cached_path(published_model("resnet18").weights, tmp_path)
    path.write_bytes(b"something else")
    with pytest.raises(ModelError, match="could not fetch"):
        load_spec("torchvision/resnet18", weights_dir=tmp_path, open_url=refuse_to_connect)


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written"):
        load_spec("torchvision/resnet18", weights_dir=tmp_path / "file", open_url=serve(b"weights"))


def test_weights_in_a_bucket_are_fetched_once(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    body = safetensors.torch.save(tensors)
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return body

    model = write_model(tmp_path, weights='"s3://models/a/w.safetensors"')
    specs = [load_spec(str(model), weights_dir=tmp_path / "cache", fetch_s3=fetch) for _ in range(2)]
    assert asked == ["s3://models/a/w.safetensors"]
    save(tensors, tmp_path / "w.safetensors")
    assert {spec.fingerprint for spec in specs} == {spec_of(write_model(tmp_path)).fingerprint}


def test_a_replaced_object_is_fetched_again_when_a_digest_is_promised(tmp_path: Path) -> None:
    bodies = [b"old", b"new"]
    refs = [
        WeightsRef(location="s3://models/w.pth", sha256=hashlib.sha256(body).hexdigest()) for body in bodies
    ]
    for ref, body in zip(refs, bodies, strict=True):
        fetch = {"s3://models/w.pth": body}.__getitem__
        path = find_weights(ref, model="m", weights_dir=tmp_path, fetch_s3=fetch)
        assert path.read_bytes() == body


def test_equal_names_in_two_buckets_are_two_files(tmp_path: Path) -> None:
    one, other = (cached_path(WeightsRef(location=f"s3://{name}/w.pth"), tmp_path) for name in "ab")
    assert one != other
    assert one.name.endswith("-w.pth")


def test_a_missing_object_and_a_missing_service_are_told(tmp_path: Path) -> None:
    def fetch(url: str) -> bytes:
        raise ImageError(Reason.NOT_FOUND, "w")

    model = write_model(tmp_path, weights='"s3://models/w.safetensors"')
    with pytest.raises(ModelError, match=r"s3://models/w.safetensors: not_found"):
        load_spec(str(model), weights_dir=tmp_path, fetch_s3=fetch)
    with pytest.raises(ModelError, match="no S3 service is set up"):
        load_spec(str(model), weights_dir=tmp_path)


# The list


def test_the_list_names_the_builtin_model_first_and_knows_what_is_cached(tmp_path: Path) -> None:
    cached_path(published_model("resnet18").weights, tmp_path).write_bytes(b"")
    entries = list_models(weights_dir=tmp_path)
    assert entries[0].name == "builtin"
    assert {entry.name for entry in entries if entry.cached} == {"builtin", "torchvision/resnet18"}
    by_name = {entry.name: entry for entry in entries}
    assert (by_name["torchvision/vit_b_16"].dim, by_name["torchvision/vit_b_16"].input_px) == (768, 224)
