"""The tower of images of a network: from its input to one row for each image."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.adapters.models.hf.address import CLS, MEAN, POOLER, POOLINGS, PROJECTION
from pipeline.adapters.models.hf.network import Network, refuse_missing
from pipeline.errors import ModelError

_OF_TEXTS = ("text_model", "text_projection")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tower:
    """`pooling` is how its rows are made. `used` are the names of its tensors, those of texts included."""

    module: nn.Module
    dim: int
    pooling: str
    used: frozenset[str]


def image_tower(network: Network, *, side_px: int, pooling: str, name: str) -> Tower:
    """Args: `pooling` is one of `POOLINGS`, or empty for the first of them that the network has.

    Raises:
        ModelError: the network takes no images of this side, does not have this pooling, or lacks weights.
    """
    probe = torch.linspace(-1, 1, 3 * side_px * side_px).reshape(1, 3, side_px, side_px)
    chosen = pooling or _first_pooling(network, probe, name)
    unused = tuple(f"{part}." for part in _poolers(network.module)) if chosen in (CLS, MEAN) else ()
    refuse_missing((key for key in network.missing if not key.startswith(unused)), name)
    module = ImageTower(network.module, pooling=chosen, name=name)
    rows = _try(module, probe, name)
    if rows.ndim != 2 or rows.shape[0] != 1:
        raise ModelError(
            f"{name}: pooling {chosen!r} gives {list(rows.shape)} for one image, [1, D] was expected"
        )
    used = (key for key in network.module.state_dict() if not key.startswith(unused))
    return Tower(module=module, dim=rows.shape[1], pooling=chosen, used=frozenset(used))


class ImageTower(nn.Module):
    """[N, 3, S, S] to [N, D]."""

    def __init__(self, network: nn.Module, *, pooling: str, name: str) -> None:
        super().__init__()
        self.network = network
        self.pooling = pooling
        self._name = name

    def forward(self, pixels: Tensor) -> Tensor:
        if self.pooling == PROJECTION:
            if not has_projection(self.network):
                raise ModelError(f"{self._name}: its network gives no {PROJECTION}: it knows no texts")
            answer = self.network.get_image_features(pixel_values=pixels)  # type: ignore[operator]
            return answer if isinstance(answer, Tensor) else _part(answer, "pooler_output", self._name)
        answer = _vision_part(self.network)(pixel_values=pixels)
        if self.pooling == POOLER:
            return _part(answer, "pooler_output", self._name).flatten(1)
        states = _part(answer, "last_hidden_state", self._name)
        if self.pooling == CLS:
            return _tokens(states, self._name)[:, 0]
        return _patches(states, self.network, pixels.shape[-1], self._name).mean(1)


def let_go_of_texts(network: Network) -> None:
    """Free the memory of the tower of texts, which images do not need."""
    for part in _OF_TEXTS:
        if isinstance(getattr(network.module, part, None), nn.Module):
            setattr(network.module, part, None)


def has_projection(network: nn.Module) -> bool:
    """Whether it puts images into a space that texts share."""
    return hasattr(network, "get_image_features") and hasattr(network, "get_text_features")


def _first_pooling(network: Network, probe: Tensor, name: str) -> str:
    if has_projection(network.module):
        return PROJECTION
    answer = _try(_vision_part(network.module), probe, name)
    pooler = tuple(f"{part}." for part in _poolers(network.module))
    lacks = any(key.startswith(pooler) for key in network.missing) if pooler else False
    if getattr(answer, "pooler_output", None) is not None and not lacks:
        return POOLER
    return CLS


def _try(module: nn.Module, probe: Tensor, name: str) -> Any:
    try:
        with torch.inference_mode():
            return module(probe)
    except ModelError:
        raise
    except Exception as err:  # each architecture fails in its own way
        side = probe.shape[-1]
        raise ModelError(f"{name}: its network takes no images of {side}x{side} px alone") from err


def _vision_part(network: nn.Module) -> nn.Module:
    part = getattr(network, "vision_model", None)
    return part if isinstance(part, nn.Module) else network


def _poolers(network: nn.Module) -> Iterable[str]:
    return [key for key, _ in network.named_children() if key == "pooler"]


def _part(answer: Any, key: str, name: str) -> Tensor:
    part = getattr(answer, key, None)
    if not isinstance(part, Tensor):
        raise ModelError(f"{name}: its network gives no {key}; choose another of {', '.join(POOLINGS)}")
    return part


def _tokens(states: Tensor, name: str) -> Tensor:
    if states.ndim != 3:
        raise ModelError(
            f"{name}: its last_hidden_state is {list(states.shape)}, [N, T, D] has tokens to take"
        )
    return states


def _patches(states: Tensor, network: nn.Module, side_px: int, name: str) -> Tensor:
    """[N, P, D]: of the picture's places alone, without the tokens before them."""
    if states.ndim == 4:
        return states.flatten(2).transpose(1, 2)
    config: Any = network.config
    patch_px = getattr(getattr(config, "vision_config", config), "patch_size", None)
    if not isinstance(patch_px, int) or states.ndim != 3:
        raise ModelError(f"{name}: its patches are unknown, so pooling {MEAN!r} cannot be made")
    return states[:, states.shape[1] - (side_px // patch_px) ** 2 :]
