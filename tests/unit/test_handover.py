"""The files of a model are read once by who embeds, though its spec is wanted before the first image."""

from pathlib import Path

import numpy as np
import pytest

from pipeline import wiring
from pipeline.adapters.models.opened import Handover
from pipeline.errors import ModelError
from pipeline.settings import Settings
from tests.hf_models import SIDE_PX, save_model

PIXELS = np.zeros((1, 3, SIDE_PX, SIDE_PX), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model("vit", tmp_path / "vit")


def settings_of(folder: Path) -> Settings:
    return Settings.model_validate({"home": folder.parent, "device": "cpu", "backend": "torch"})


def test_who_embeds_reads_the_weights_once(folder: Path) -> None:
    settings = settings_of(folder)
    wanted = wiring.load_model(str(folder), settings, precision="auto").embed_images(PIXELS)
    model = wiring.lazy_model(str(folder), settings, existing=None, batches=1)
    (folder / "model.safetensors").unlink()
    assert np.array_equal(model.embed_images(PIXELS), wanted)


def test_who_only_wants_to_know_a_model_does_not_keep_its_weights(folder: Path) -> None:
    model = wiring.lazy_model(str(folder), settings_of(folder), existing=None, batches=0)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"weights in model\.safetensors are expected"):
        model.embed_images(PIXELS)


def test_a_network_that_was_handed_over_is_kept_no_longer(folder: Path) -> None:
    settings, handover = settings_of(folder), Handover()
    spec = wiring.load_model_spec(str(folder), settings, handover=handover)
    wiring.load_model(str(folder), settings, precision="float32", handover=handover)
    assert handover.take(spec.address) is None
