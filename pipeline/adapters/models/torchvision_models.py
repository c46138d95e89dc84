"""torchvision's classification architectures as feature modules: the classifier is cut off.

The embedding is the input of the last classifier layer. Modules are laid out without memory, then
take the tensors of the file as they are.
"""

import difflib
import functools
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pipeline.adapters.models.weights import WeightsRef, published_ref
from pipeline.errors import ModelError
from pipeline.image.light_torchvision import InterpolationMode, models
from pipeline.types import Preprocessing

# Known without building anything, so that a listing is instant. Checked against the real modules by a test.
_ARCHITECTURES_BY_DIM = {
    400: "regnet_x_400mf",
    440: "regnet_y_400mf",
    512: "maxvit_t resnet18 resnet34 squeezenet1_0 squeezenet1_1",
    672: "regnet_x_800mf",
    768: "convnext_small convnext_tiny swin_s swin_t swin_v2_s swin_v2_t vit_b_16 vit_b_32",
    784: "regnet_y_800mf",
    888: "regnet_y_1_6gf",
    912: "regnet_x_1_6gf",
    1008: "regnet_x_3_2gf",
    1024: "convnext_base densenet121 googlenet mobilenet_v3_small shufflenet_v2_x0_5 shufflenet_v2_x1_0"
    " shufflenet_v2_x1_5 swin_b swin_v2_b vit_l_16 vit_l_32",
    1280: "efficientnet_b0 efficientnet_b1 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s mnasnet0_5"
    " mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large vit_h_14",
    1408: "efficientnet_b2",
    1512: "regnet_y_3_2gf",
    1536: "convnext_large efficientnet_b3",
    1664: "densenet169",
    1792: "efficientnet_b4",
    1920: "densenet201 regnet_x_8gf",
    2016: "regnet_y_8gf",
    2048: "efficientnet_b5 inception_v3 regnet_x_16gf resnet50 resnet101 resnet152 resnext50_32x4d"
    " resnext101_32x8d resnext101_64x4d shufflenet_v2_x2_0 wide_resnet50_2 wide_resnet101_2",
    2208: "densenet161",
    2304: "efficientnet_b6",
    2520: "regnet_x_32gf",
    2560: "efficientnet_b7",
    3024: "regnet_y_16gf",
    3712: "regnet_y_32gf",
    4096: "alexnet vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn",
    7392: "regnet_y_128gf",
}
_DIMS = {name: dim for dim, names in _ARCHITECTURES_BY_DIM.items() for name in names.split()}

_CLASSES = 1000
# Heads that only serve training; their tensors in a file are passed over.
_AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
# Checkpoints of 2017 spell denselayer1.norm.1, the modules denselayer1.norm1.
_OLD_DENSENET_NAME = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedModel:
    """The published DEFAULT weights of an architecture."""

    weights: WeightsRef
    preprocessing: Preprocessing
    parameters: int
    top1_percent: float  # on ImageNet-1k


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureModel:
    """`module` maps [N, 3, S, S] to [N, dim]; tensors under `unused` prefixes of a file are not in it."""

    module: nn.Module
    dim: int
    unused: tuple[str, ...]


@functools.cache
def list_architectures() -> tuple[str, ...]:
    """Classification architectures with published weights. Quantized ones live in another module."""
    return tuple(models.list_models(module=models))


def check_architecture(name: str) -> None:
    """Raises ModelError, with the nearest names, unless torchvision has it."""
    if name in list_architectures():
        return
    near = difflib.get_close_matches(name, list_architectures(), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "see `pictor models list`"
    raise ModelError(f"torchvision/{name}: there is no such architecture; {hint}")


def published_model(architecture: str) -> PublishedModel:
    weights = models.get_model_weights(architecture).DEFAULT
    preset = weights.transforms()
    mean, std = tuple(preset.mean), tuple(preset.std)
    if architecture in _AUXILIARY:
        # Trained on -1..1. torchvision undoes the ImageNet mean and std inside these two modules
        # (transform_input). Here the module gets the values it was trained on, and nothing is undone.
        mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    return PublishedModel(
        weights=published_ref(weights.url),
        preprocessing=Preprocessing(
            resize=preset.resize_size[0],
            crop=preset.crop_size[0],
            mean=mean,
            std=std,
            interpolation="bicubic" if preset.interpolation == InterpolationMode.BICUBIC else "bilinear",
        ),
        parameters=weights.meta["num_params"],
        top1_percent=weights.meta["_metrics"]["ImageNet-1K"]["acc@1"],
    )


def feature_dim(architecture: str, *, side: int) -> int:
    """Instant for the architectures known here. One that a newer torchvision brings is laid out to see."""
    return _DIMS.get(architecture) or lay_out(architecture, side=side).dim


def lay_out(architecture: str, *, side: int) -> FeatureModel:
    """The module without its classifier, and without memory for its weights.

    Raises:
        ModelError: the architecture cannot take images of this side.
    """
    try:
        module = _headless(architecture, side)
        dim, classifier = _cut_classifier(module)
        if side != published_model(architecture).preprocessing.crop:
            _try_side(architecture, side)
    except (RuntimeError, ValueError, AssertionError, ZeroDivisionError) as err:
        raise ModelError(f"torchvision/{architecture} cannot take images of {side}x{side} px") from err
    return FeatureModel(module=module, dim=dim, unused=(classifier, *_AUXILIARY.get(architecture, ())))


def fill(features: FeatureModel, tensors: Mapping[str, Tensor], *, where: str) -> nn.Module:
    """Give the module its weights: every tensor it has, and none that it has not.

    Args:
        where: begins each message. Names the model and the file.

    Raises:
        ModelError: a tensor is missing, unexpected, of another shape, not floating point or not finite.
    """
    wanted = features.module.state_dict()
    given = {_present_name(name): tensor for name, tensor in tensors.items()}
    given = {name: tensor for name, tensor in given.items() if not name.startswith(features.unused)}
    # Counters of training: absent from old checkpoints, read by nothing here.
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}
    _check_names(wanted.keys() - counters, given.keys() - counters, where)
    state = OrderedDict(
        (name, want if name in counters else _check_tensor(name, given[name], want, where))
        for name, want in wanted.items()
    )
    # The modules read layout versions from here; a safetensors file has none, and ours is the present one.
    state._metadata = wanted._metadata  # type: ignore[attr-defined]
    features.module.load_state_dict(state, strict=True, assign=True)
    return features.module


# Without memory there is nothing to fill, and torch would import its compiler to do nothing.
_FIRST_VALUES = (nn.init.normal_, nn.init.uniform_, Tensor.normal_, Tensor.uniform_)


class _WithoutMemory(TorchFunctionMode):
    """Makes new weights on the meta device. `torch.device("meta")` would also catch the tensors that RegNet
    computes its widths with and the index tables of Swin and MaxViT, which need values."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func in (torch.empty, torch.zeros, torch.ones):
            return func(*args, **{**named, "device": "meta"})
        if func in _FIRST_VALUES and (weights := args[0] if args else named["tensor"]).is_meta:
            return weights
        return func(*args, **named)


def _headless(architecture: str, side: int) -> nn.Module:
    options: dict[str, Any] = {}
    if architecture.startswith("vit_"):
        options["image_size"] = side  # one position embedding per patch
    elif architecture.startswith("maxvit"):
        options["input_size"] = (side, side)  # the grid of windows is laid out for one size
    elif architecture in _AUXILIARY:
        options = {"aux_logits": False, "transform_input": False, "init_weights": False}
    with _WithoutMemory():
        module: nn.Module = models.get_model(architecture, weights=None, **options)
    return module.eval()


def _cut_classifier(module: nn.Module) -> tuple[int, str]:
    """Returns the features' length and the prefix of the classifier's tensors."""
    if isinstance(module, models.SqueezeNet):
        # Its classifier is a convolution over the last feature map, whose mean is the embedding.
        module.classifier = nn.AdaptiveAvgPool2d(1)
        return 512, "classifier."
    name, last = [
        (name, layer)
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and layer.out_features == _CLASSES
    ][-1]
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, nn.Identity())
    return last.in_features, f"{name}."


def _try_side(architecture: str, side: int) -> None:
    """A forward pass of shapes alone: too small a side empties a feature map on the way."""
    module = _headless(architecture, side).to("meta")
    with torch.inference_mode():
        module(torch.empty(1, 3, side, side, device="meta"))


def _present_name(name: str) -> str:
    return _OLD_DENSENET_NAME.sub(r"\1\2", name)


def _check_names(wanted: Set[str], given: Set[str], where: str) -> None:
    for kind, names in (("missing", wanted - given), ("unknown", given - wanted)):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
            raise ModelError(
                f"{where}: {kind} tensors: {len(names)} ({shown}); "
                f"the file holds {len(given)}, {len(wanted)} are wanted"
            )


def _check_tensor(name: str, given: Tensor, want: Tensor, where: str) -> Tensor:
    if given.shape != want.shape:
        raise ModelError(f"{where}: tensor {name} is {list(given.shape)}, {list(want.shape)} is wanted")
    if given.is_floating_point() != want.is_floating_point():
        raise ModelError(f"{where}: tensor {name} is {given.dtype}, {want.dtype} is wanted")
    if given.is_floating_point() and not torch.isfinite(given).all():
        raise ModelError(f"{where}: tensor {name} holds values that are not finite")
    return given.to(want.dtype)
