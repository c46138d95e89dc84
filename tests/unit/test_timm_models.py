"""timm's networks against the library's own transform and forward pass."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from pipeline.adapters.models.catalogue import load_embedder, load_spec
from pipeline.adapters.models.hf.digests import DIGESTS
from pipeline.adapters.models.probe_pictures import probe_pictures
from pipeline.errors import ModelError
from pipeline.image.preprocess import to_model_input
from pipeline.types import ModelSpec

MIN_COSINE = 0.999
NAMES = ("test_vit", "test_resnet", "test_convnext", "test_efficientnet")


def network(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model(name, pretrained_cfg_overlay=changes).eval()


def save(model: Any, folder: Path, **keys: str) -> Path:
    """Weights with their classifier, and a model file. Args: `keys` are more lines, of TOML source."""
    safetensors.torch.save_file(model.state_dict(), folder / "w.safetensors")
    lines = {"name": '"mine"', "architecture": f'"timm/{model.default_cfg["architecture"]}"'}
    lines |= {"weights": '"w.safetensors"', **keys}
    path = folder / "m.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))
    return path


def save_folder(model: Any, folder: Path) -> Path:
    """As timm's programs publish a network."""
    folder.mkdir(parents=True)
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    config = {"architecture": model.default_cfg["architecture"], "pretrained_cfg": model.pretrained_cfg}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def spec_of(address: Path | str, weights_dir: Path = Path("/nowhere")) -> ModelSpec:
    return load_spec(str(address), weights_dir=weights_dir)


def own_rows(model: Any, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    pixels = torch.stack([transform(Image.fromarray(rgb)) for rgb in pictures])
    with torch.inference_mode():
        rows = model.forward_head(model.forward_features(pixels), pre_logits=True)
    return torch.nn.functional.normalize(rows, dim=1).numpy()


def least_cosine(address: Path, model: Any) -> float:
    embedder = load_embedder(str(address), weights_dir=address, device="cpu", group_items=4)
    pictures = probe_pictures()
    inputs = np.stack([to_model_input(rgb, embedder.spec.preprocessing) for rgb in pictures])
    return float((embedder.embed_images(inputs) * own_rows(model, pictures)).sum(1).min())


@pytest.mark.parametrize("name", NAMES)
def test_a_network_gives_what_timm_gives(tmp_path: Path, name: str) -> None:
    model = network(name)
    assert least_cosine(save(model, tmp_path), model) >= MIN_COSINE


@pytest.mark.parametrize(
    "config",
    [
        {"crop_mode": "squash", "crop_pct": 0.9},
        {"crop_mode": "squash", "crop_pct": 1.0},
        {"crop_mode": "border", "crop_pct": 1.0},
        {"crop_mode": "border", "crop_pct": 0.8},
        {"interpolation": "bilinear"},
        {"interpolation": "lanczos"},
        {"mean": (0.5, 0.4, 0.3), "std": (1.0, 0.5, 0.25)},
    ],
    ids=str,
)
def test_each_way_to_prepare_a_picture_is_timm_s(tmp_path: Path, config: dict[str, Any]) -> None:
    model = network("test_vit", **config)
    assert least_cosine(save_folder(model, tmp_path / "f"), model) >= MIN_COSINE


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nearest": ({"interpolation": "nearest"}, "interpolation = 'nearest', one of bilinear"),
    "a strip": ({"input_size": (3, 160, 96)}, r"input_size = \[3, 160, 96\], 3 x S x S is supported"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_repeated_is_refused_by_name(tmp_path: Path, case: str) -> None:
    config, message = REFUSED[case]
    with pytest.raises(ModelError, match=message):
        spec_of(save_folder(network("test_resnet", **config), tmp_path / "f"))


def test_published_weights_lie_in_the_folder_of_models(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"timm/test_vit is not on this machine: .*/test_vit.r160_in1k"):
        spec_of("timm/test_vit", tmp_path)
    folder = save_folder(network("test_vit"), tmp_path / "hf" / "timm" / "test_vit.r160_in1k")
    spec = spec_of("timm/test_vit", tmp_path)
    assert (spec.address, spec.fingerprint) == ("timm/test_vit", spec_of(folder).fingerprint)


def test_published_weights_may_lie_in_a_bucket(tmp_path: Path) -> None:
    folder = save_folder(network("test_vit"), tmp_path / "f")
    objects = {path.name: path.read_bytes() for path in folder.iterdir()}
    digests = {name: hashlib.sha256(body).hexdigest() for name, body in objects.items()}
    objects[DIGESTS] = json.dumps({"files": digests}).encode()

    def fetch(url: str) -> bytes:
        return objects[url.removeprefix("s3://models/timm/test_vit.r160_in1k/")]

    found = load_spec("timm/test_vit", weights_dir=tmp_path, fetch_s3=fetch, model_store="s3://models")
    assert found.fingerprint == spec_of(folder).fingerprint


def test_a_misspelt_name_is_answered_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"resnet5O: timm [\d.]+ has no such network; did you mean resnet50"):
        spec_of("timm/resnet5O", tmp_path)


def test_keys_of_a_model_file_go_before_the_library_s(tmp_path: Path) -> None:
    spec = spec_of(save(network("test_resnet"), tmp_path, crop="96", resize="100", fit='"squash"'))
    assert (spec.preprocessing.crop, spec.preprocessing.resize, spec.preprocessing.fit) == (96, 100, "squash")


def test_weights_of_another_network_are_refused_by_tensor(tmp_path: Path) -> None:
    path = save(network("test_resnet"), tmp_path, architecture='"timm/test_efficientnet"')
    with pytest.raises(ModelError, match=r"for timm/test_efficientnet: missing tensors: \d+"):
        spec_of(path)
