"""Folding and lowering a network: the same embeddings, or it is not done."""

import copy
import logging

import pytest
import torch
from torch import Tensor, nn

from pipeline.adapters.models.inference import MIN_COSINE, pick_dtype, quicken
from pipeline.errors import ModelError
from pipeline.types import ModelSpec, Preprocessing

CPU = torch.device("cpu")
SIDE = 16
SPEC = ModelSpec(
    name="fake",
    address="fake",
    architecture="fake",
    fingerprint="0" * 64,
    dim=8,
    preprocessing=Preprocessing(resize=SIDE, crop=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3),
)


def convolutions() -> nn.Module:
    """Two convolutions with batch norms that do something."""
    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1),
    )
    for part in module:
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    return module.eval()


class FarApart(nn.Module):
    """The difference of two sums that bfloat16 cannot tell from nothing."""

    def forward(self, images: Tensor) -> Tensor:
        large = images.mean((2, 3)) + 1000
        return torch.cat([large - 1000, -(large - 1000)], dim=1)


def unit_rows(module: nn.Module, images: Tensor) -> Tensor:
    return nn.functional.normalize(module(images).flatten(1).float(), dim=1)


def norms_in(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@torch.inference_mode()
def test_batch_norms_are_folded_and_the_embeddings_stay() -> None:
    given = convolutions()
    images = torch.rand(5, 3, SIDE, SIDE)
    wanted = unit_rows(copy.deepcopy(given), images)
    quick, dtype = quicken(given, SPEC, device=CPU, dtype=torch.float32)
    assert dtype is torch.float32
    assert (norms_in(given), norms_in(quick)) == (2, 0)
    assert torch.allclose(unit_rows(quick, images), wanted, atol=1e-5)


@torch.inference_mode()
def test_a_network_whose_calls_cannot_be_followed_is_used_as_it_is() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = convolutions()

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images) if images.sum() > -1e9 else images

    given = Branching()
    quick, _ = quicken(given, SPEC, device=CPU, dtype=torch.float32)
    assert quick is given


@torch.inference_mode()
def test_bfloat16_is_used_where_it_is_wanted_and_keeps_the_embeddings() -> None:
    given = convolutions()
    images = torch.rand(5, 3, SIDE, SIDE)
    wanted = unit_rows(copy.deepcopy(given), images)
    quick, dtype = quicken(given, SPEC, device=CPU, dtype=torch.bfloat16)
    assert dtype is torch.bfloat16
    assert {weights.dtype for weights in quick.parameters()} == {torch.bfloat16}
    cosines = (unit_rows(quick, images.to(dtype)) * wanted).sum(1)
    assert cosines.min() >= MIN_COSINE
    assert not torch.equal(unit_rows(quick, images.to(dtype)), wanted)  # it was another computation


def test_a_network_that_bfloat16_would_move_stays_in_float32_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        _, dtype = quicken(FarApart(), SPEC, device=CPU, dtype=torch.bfloat16)
    assert dtype is torch.float32
    assert "bfloat16" in caplog.text


def test_bfloat16_that_was_asked_for_is_refused_when_it_would_move_the_embeddings() -> None:
    with pytest.raises(ModelError, match="PICTOR_PRECISION=float32"):
        quicken(FarApart(), SPEC, device=CPU, dtype=torch.bfloat16, required=True)


def test_auto_is_bfloat16_only_where_the_device_has_it() -> None:
    assert pick_dtype("auto", native=True) is torch.bfloat16
    assert pick_dtype("auto", native=False) is torch.float32
    assert pick_dtype("float32", native=True) is torch.float32
    assert pick_dtype("bfloat16", native=False) is torch.bfloat16
