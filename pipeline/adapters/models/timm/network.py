"""timm's networks without their classifier, with the weights of a file and no others."""

import difflib
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.adapters.models.timm.library import timm
from pipeline.adapters.models.torchvision_models import FeatureModel, fill
from pipeline.errors import ModelError


def create(
    name: str, config: Mapping[str, Any] | None = None, arguments: Mapping[str, Any] | None = None
) -> nn.Module:
    """The network with random weights, which gives features and no classes.

    Args:
        name: as timm has it, with or without the tag of its weights.
        config: of its weights, if it is not the library's own.
        arguments: for the network, as a config.json has them.

    Raises:
        ModelError: there is no such network, or it does not take these arguments.
    """
    check_name(name)
    try:
        module: nn.Module = timm().create_model(
            name,
            pretrained=False,
            pretrained_cfg=dict(config) if config else None,
            **{**(arguments or {}), "num_classes": 0},
        )
    except Exception as err:  # each network checks its arguments in its own way
        raise ModelError(f"timm/{name}: timm {timm().__version__} cannot make this network") from err
    return module.eval()


def check_name(name: str) -> None:
    """Raises ModelError, with the nearest names, unless timm has it."""
    known = {*timm().list_models(), *timm().list_pretrained()}
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise ModelError(f"timm/{name}: timm {timm().__version__} has no such network{hint}")


def fill_network(
    module: nn.Module, tensors: Mapping[str, Tensor], *, side_px: int, where: str
) -> FeatureModel:
    """Raises ModelError: the weights do not fit, or the network does not give one row for an image."""
    features = FeatureModel(module=module, dim=0, unused=_classifiers(module))
    fill(features, _present_names(module, tensors, where), where=where)
    try:
        with torch.inference_mode():
            rows = module(torch.zeros(1, 3, side_px, side_px))
    except Exception as err:  # each network fails in its own way
        raise ModelError(f"{where}: cannot take images of {side_px}x{side_px} px") from err
    if not isinstance(rows, Tensor) or rows.ndim != 2:
        shape = list(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise ModelError(f"{where}: gives {shape} for an image, not [1, D]")
    return FeatureModel(module=module, dim=rows.shape[1], unused=features.unused)


def _present_names(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> Mapping[str, Tensor]:
    """Of weights that were saved by other programs, by the network's own rule."""
    rule = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    if rule is None:
        return tensors
    try:
        renamed: Mapping[str, Tensor] = rule(dict(tensors), module)
    except Exception as err:  # a rule expects the tensors of its network
        raise ModelError(f"{where}: these are not the weights of this network") from err
    return renamed


def _classifiers(module: Any) -> tuple[str, ...]:
    named = module.pretrained_cfg.get("classifier") or ()
    return tuple(f"{name}." for name in ([named] if isinstance(named, str) else named))
