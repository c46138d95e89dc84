"""Models in Hugging Face's layout: each family against the library's own processor and forward pass."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel

from pipeline.adapters.models.catalogue import load_embedder, load_spec
from pipeline.adapters.models.families.hf import HfFamily
from pipeline.adapters.models.family import Places
from pipeline.adapters.models.model_address import read_address
from pipeline.adapters.models.own_pipeline import check_against_own
from pipeline.adapters.models.probe_pictures import probe_pictures
from pipeline.errors import ModelError
from pipeline.image.preprocess import to_model_input
from pipeline.types import Capability, ModelSpec, Pixels, Preprocessing
from tests.hf_models import save_model
from tests.hf_texts import add_tokenizer

MIN_COSINE = 0.999


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> "Folders":
    return Folders(tmp_path_factory.mktemp("hf"))


class Folders:
    """Each model is made once."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __getitem__(self, kind: str) -> Path:
        folder = self._root / kind
        return folder if folder.exists() else save_model(kind, folder)


def test_images_alone_keep_no_weights_of_texts(models: Folders) -> None:
    for kind in ("clip", "siglip"):
        opened = HfFamily().open(read_address(str(models[kind])), Places(weights_dir=Path("/nowhere")))
        kept = opened.module.state_dict()
        assert any("vision_model." in name for name in kept)
        assert not any("text_model." in name or "text_projection." in name for name in kept)


def spec_of(address: Path | str, *, weights_dir: Path = Path("/nowhere")) -> ModelSpec:
    return load_spec(str(address), weights_dir=weights_dir)


def embed(address: Path, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    embedder = load_embedder(str(address), weights_dir=address, device="cpu", group_items=4)
    how = embedder.spec.preprocessing
    return embedder.embed_images(np.stack([to_model_input(rgb, how) for rgb in pictures]))


def answers_of(folder: Path, rgb: NDArray[np.uint8]) -> Any:
    """The library's own way from a picture to the network's answer."""
    pixels = AutoImageProcessor.from_pretrained(folder)(images=rgb, return_tensors="pt")
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return (model.get_image_features if hasattr(model, "get_image_features") else model)(**pixels)


EXPECTED: dict[str, tuple[str, int, Callable[[Any], Tensor]]] = {
    "clip": ("hf/clip projection", 24, lambda answer: answer.pooler_output),
    "siglip": ("hf/siglip projection", 32, lambda answer: answer.pooler_output),
    "dinov2": ("hf/dinov2 pooler", 32, lambda answer: answer.pooler_output),
    "dinov3": ("hf/dinov3_vit pooler", 32, lambda answer: answer.pooler_output),
    "vit": ("hf/vit pooler", 32, lambda answer: answer.pooler_output),
    "vit without pooler": ("hf/vit cls", 32, lambda answer: answer.last_hidden_state[:, 0]),
    "convnext": ("hf/convnext pooler", 32, lambda answer: answer.pooler_output),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_family_gives_what_the_library_gives(models: Folders, kind: str) -> None:
    architecture, dim, pool = EXPECTED[kind]
    spec = spec_of(models[kind])
    assert (spec.architecture, spec.dim) == (architecture, dim)
    rows = embed(models[kind], probe_pictures())
    for row, rgb in zip(rows, probe_pictures(), strict=True):
        own = pool(answers_of(models[kind], rgb))[0].numpy()
        assert float(row @ own / np.linalg.norm(own)) >= MIN_COSINE


@pytest.mark.parametrize("width", range(150, 158))
def test_a_cut_begins_where_the_library_s_begins(models: Folders, width: int) -> None:
    """The widths after the resize are 75 to 78, so that an odd number of pixels is left over."""
    rgb = np.random.default_rng(width).integers(0, 256, (80, width, 3), np.uint8)
    how = spec_of(models["dinov2"]).preprocessing
    theirs = AutoImageProcessor.from_pretrained(models["dinov2"])(images=rgb, return_tensors="np")
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (how.mean, how.std))
    pixels = theirs["pixel_values"][0] * std + mean
    np.testing.assert_allclose(to_model_input(rgb, how), pixels * 255, atol=1.01)


def test_two_towers_can_be_asked_for_texts_and_one_cannot(models: Folders, tmp_path: Path) -> None:
    with_tokenizer = add_tokenizer(save_model("clip", tmp_path / "clip"), "clip")
    assert spec_of(with_tokenizer).capabilities == (Capability.IMAGES, Capability.TEXT)
    assert spec_of(models["clip"]).capabilities == (Capability.IMAGES,), "nothing would read the texts"
    assert spec_of(models["vit"]).capabilities == (Capability.IMAGES,)


def test_a_name_of_the_hub_that_is_not_here_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError,
        match=r"acme/clip is no folder.*`pictor models pull hf/acme/clip` where",
    ):
        spec_of("hf/acme/clip", weights_dir=tmp_path)


def test_a_model_of_the_hub_lies_in_the_folder_of_models(models: Folders, tmp_path: Path) -> None:
    (tmp_path / "hf" / "acme").mkdir(parents=True)
    (tmp_path / "hf" / "acme" / "vit").symlink_to(models["vit"])
    spec = spec_of("hf/acme/vit", weights_dir=tmp_path)
    assert (spec.address, spec.fingerprint) == ("hf/acme/vit", spec_of(models["vit"]).fingerprint)


def test_a_cut_that_begins_elsewhere_is_found() -> None:
    right = Preprocessing(resize=256, crop=224, mean=(0.5,) * 3, std=(0.25,) * 3, centre="down")

    def own(rgb: Pixels) -> NDArray[np.float32]:
        return ((to_model_input(rgb, right) / 255 - 0.5) / 0.25).astype(np.float32)

    check_against_own(right, own, where="a processor")
    with pytest.raises(ModelError, match=r"the input of a picture has cosine 0.\d+ to its own"):
        check_against_own(replace(right, centre="nearest"), own, where="a processor")
