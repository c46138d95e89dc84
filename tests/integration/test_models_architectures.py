"""Every torchvision architecture, laid out without memory."""

from collections.abc import Container, Iterable

import pytest
import torch
from _pytest.mark import ParameterSet
from torch import nn

from pipeline.adapters.models.torchvision_models import (
    check_architecture,
    feature_dim,
    fill,
    lay_out,
    list_architectures,
    published_model,
)
from pipeline.errors import ModelError

# One of each family always, all of them where time allows.
FAMILIES = {
    "alexnet",
    "densenet121",
    "googlenet",
    "maxvit_t",
    "mobilenet_v3_small",
    "resnet18",
    "swin_t",
    "vit_b_32",
}


def mark_slow(names: Iterable[str], *, but: Container[str]) -> list[ParameterSet]:
    return [pytest.param(name, marks=() if name in but else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("architecture", mark_slow(list_architectures(), but=FAMILIES))
def test_the_listed_dim_is_what_the_module_answers(architecture: str) -> None:
    side = published_model(architecture).preprocessing.crop
    features = lay_out(architecture, side=side)
    with torch.inference_mode():
        answer = features.module.to("meta")(torch.empty(2, 3, side, side, device="meta"))
    assert answer.flatten(1).shape == (2, features.dim)
    assert feature_dim(architecture, side=side) == features.dim


@pytest.mark.parametrize("architecture", list_architectures())
def test_published_weights_are_checked_and_preprocessing_fits(architecture: str) -> None:
    published = published_model(architecture)
    assert len(published.weights.sha256) >= 8
    assert published.preprocessing.resize >= published.preprocessing.crop
    assert published.preprocessing.fit == "crop"


def test_all_classification_architectures_are_there_and_no_quantized_one() -> None:
    names = list_architectures()
    assert {"resnet50", "vit_b_16", "squeezenet1_0", "mobilenet_v2"} <= set(names)
    assert not [name for name in names if name.startswith("quantized") or "rcnn" in name]


def test_a_misspelt_architecture_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(ModelError, match=r"torchvision/resnet5: .* did you mean resnet50"):
        check_architecture("resnet5")


@pytest.mark.parametrize(("architecture", "side"), [("vit_b_16", 225), ("alexnet", 30), ("maxvit_t", 100)])
def test_a_side_that_the_architecture_cannot_take_is_refused(architecture: str, side: int) -> None:
    with pytest.raises(
        ModelError, match=f"torchvision/{architecture} cannot take images of {side}x{side} px"
    ):
        lay_out(architecture, side=side)


def test_a_vision_transformer_follows_the_side() -> None:
    features = lay_out("vit_b_16", side=384)
    assert features.module.state_dict()["encoder.pos_embedding"].shape == (1, 24 * 24 + 1, 768)


def test_two_inception_inputs_are_the_ones_they_were_trained_on() -> None:
    assert published_model("inception_v3").preprocessing.mean == (0.5, 0.5, 0.5)
    assert published_model("googlenet").preprocessing.std == (0.5, 0.5, 0.5)


def from_torchvision(architecture: str, **options: object) -> nn.Module:
    from torchvision import models

    torch.manual_seed(0)
    module: nn.Module = models.get_model(architecture, weights=None, **options).eval()
    return module


CASES = {
    "resnet18": {},
    "mnasnet0_5": {},  # reads a layout version that safetensors files do not carry
    "densenet121": {},
    "shufflenet_v2_x0_5": {},
    "regnet_y_400mf": {},
    "googlenet": {"init_weights": False},  # with its auxiliary heads, as the published file
}


@pytest.mark.parametrize("architecture", mark_slow(CASES, but={"resnet18", "mnasnet0_5", "googlenet"}))
def test_the_features_are_what_the_classifier_would_have_read(architecture: str) -> None:
    whole = from_torchvision(architecture, **CASES[architecture])
    classifier = [layer for layer in whole.modules() if isinstance(layer, nn.Linear)][-1]
    read: list[torch.Tensor] = []
    classifier.register_forward_hook(lambda _layer, inputs, _answer: read.append(inputs[0]))
    images = torch.rand(2, 3, 64, 64)
    module = fill(lay_out(architecture, side=64), dict(whole.state_dict()), where="x")
    with torch.inference_mode():
        whole(images)
        answer = module(images)
    assert torch.allclose(answer, read[0], atol=1e-5)


def test_squeezenet_gives_the_mean_of_its_last_feature_map() -> None:
    whole = from_torchvision("squeezenet1_1")
    images = torch.rand(2, 3, 64, 64)
    module = fill(lay_out("squeezenet1_1", side=64), dict(whole.state_dict()), where="x")
    with torch.inference_mode():
        expected = whole.get_submodule("features")(images).mean((2, 3))
        answer = module(images)
    assert answer.shape == (2, 512)
    assert torch.allclose(answer, expected, atol=1e-5)


def test_old_densenet_names_are_understood() -> None:
    state = from_torchvision("densenet121").state_dict()
    old = {
        name.replace("norm1", "norm.1").replace("conv2", "conv.2") if "denselayer" in name else name: tensor
        for name, tensor in state.items()
    }
    assert old.keys() != state.keys()
    module = fill(lay_out("densenet121", side=224), old, where="x")
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
