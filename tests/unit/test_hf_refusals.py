"""Folders in Hugging Face's layout that cannot be used, and what is said of each."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from pipeline.adapters.models.catalogue import load_spec
from pipeline.adapters.models.hf.library import transformers
from pipeline.cgroup import read_share
from pipeline.errors import ConfigError, ModelError
from tests.hf_models import save_model

CONFIG, PROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model("vit", tmp_path_factory.mktemp("vit"))


def change(file: str, **keys: object) -> Callable[[Path], object]:
    """Keys of a JSON file; None leaves one out."""

    def apply(folder: Path) -> None:
        values = json.loads((folder / file).read_text()) | keys
        kept = {key: value for key, value in values.items() if value is not None}
        (folder / file).write_text(json.dumps(kept))

    return apply


def remove(file: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).unlink()


def write(file: str, body: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes(body)


def pickles_alone(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def poison(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    tensors["embeddings.cls_token"] = torch.full_like(tensors["embeddings.cls_token"], torch.nan)
    safetensors.torch.save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def forget(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    del tensors["layernorm.weight"]
    safetensors.torch.save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def outgrow(folder: Path) -> None:
    with (folder / WEIGHTS).open("r+b") as file:  # holes of a file take no place on the disk
        file.truncate(read_share().memory_bytes + 1)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no processor": (remove(PROCESSOR), "holds no preprocessor_config.json"),
    "no configuration": (remove(CONFIG), "holds no config.json"),
    "a list for a configuration": (write(CONFIG, b"[]"), "config.json holds a list, an object was expected"),
    "not JSON": (write(CONFIG, b"{"), "config.json cannot be read as JSON"),
    "no weights": (remove(WEIGHTS), "weights in model.safetensors are expected in .*, found none"),
    "pickles": (
        pickles_alone,
        "found pytorch_model.bin, a pickle that could run code; save",
    ),
    "damaged weights": (write(WEIGHTS, b"\0" * 99), "are damaged, or do not fit config.json"),
    "NaN weights": (poison, "tensor embeddings.cls_token holds values that are not finite"),
    "a tensor is missing": (forget, r"missing tensors: 1 \(layernorm.weight\)"),
    "other shapes": (change(CONFIG, hidden_size=64), "are damaged, or do not fit config.json"),
    "larger than memory": (outgrow, r"its weights are [\d.]+ GB, more than the [\d.]+ GB of memory"),
    "no architecture": (change(CONFIG, model_type=None), "has no model_type"),
    "unknown architecture": (
        change(CONFIG, model_type="vit9"),
        r"transformers [\d.]+ knows no architecture 'vit9'",
    ),
    "code of its own": (
        change(CONFIG, model_type="own", auto_map={"AutoModel": "modeling_own.Own"}),
        r"knows no architecture 'own'. It wants code of its own \(auto_map\), which is never run",
    ),
    "quantized": (change(CONFIG, quantization_config={"bits": 4}), "asks for quantized weights"),
    "no resize": (change(PROCESSOR, do_resize=False), "do_resize is false"),
    "padding": (change(PROCESSOR, do_pad=True), "do_pad is not supported"),
    "no square": (
        change(PROCESSOR, size={"height": 32, "width": 64}),
        "size = .*'width': 64",
    ),
    "one edge alone": (change(PROCESSOR, size={"shortest_edge": 32}), r"makes \[3, 32, \d+\] of a picture"),
    "nearest": (change(PROCESSOR, resample=0), "resample = 0"),
    "swapped channels": (
        change(PROCESSOR, do_flip_channel_order=True),
        "do_flip_channel_order",
    ),
    "another side": (
        change(PROCESSOR, size={"height": 48, "width": 48}),
        "takes no images of 48x48 px",
    ),
    "unknown processor": (
        change(PROCESSOR, image_processor_type="OwnProcessor"),
        "transformers cannot make its processor 'OwnProcessor'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_cannot_be_used_is_refused_by_name(tmp_path: Path, vit: Path, case: str) -> None:
    spoil, message = REFUSED[case]
    folder = tmp_path / "model"
    shutil.copytree(vit, folder)
    spoil(folder)
    with pytest.raises(ModelError, match=f"^{re.escape(str(folder))}.*{message}"):
        load_spec(str(folder), weights_dir=tmp_path)


def test_code_in_a_folder_is_not_run(tmp_path: Path, vit: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(vit, folder)
    change(CONFIG, model_type="own", auto_map={"AutoConfig": "own.Own", "AutoModel": "own.Own"})(folder)
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelError, match="which is never run"):
        load_spec(str(folder), weights_dir=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_inputs_without_a_fixed_size_are_refused(tmp_path: Path) -> None:
    folder = save_model("siglip2", tmp_path / "naflex")
    with pytest.raises(ModelError, match=r"inputs without a fixed size \(NaFlex\) are not supported"):
        load_spec(str(folder), weights_dir=tmp_path)


POOLINGS = {
    "of texts": ("vit", "projection", "its network gives no projection"),
    "random pooler": ("vit without pooler", "pooler", r"missing tensors: 2 \(pooler.dense"),
    "places as tokens": ("convnext", "cls", r"its last_hidden_state is \[1, 32, 2, 2\]"),
}


@pytest.mark.parametrize("case", POOLINGS)
def test_a_pooling_that_the_network_has_not_is_refused(tmp_path: Path, case: str) -> None:
    kind, pooling, message = POOLINGS[case]
    save_model(kind, tmp_path / "model")
    path = tmp_path / "m.toml"
    path.write_text(f'name = "m"\narchitecture = "hf"\nweights = "model"\npooling = "{pooling}"\n')
    with pytest.raises(ModelError, match=message):
        load_spec(str(path), weights_dir=tmp_path)


def test_without_the_library_its_extra_is_named(
    tmp_path: Path, vit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    transformers.cache_clear()
    with pytest.raises(ConfigError, match=re.escape("pip install 'pictor[transformers]'")):
        load_spec(str(vit), weights_dir=tmp_path)
