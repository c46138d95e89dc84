"""An upright RGB image becomes a model's input: resized, cut, still 8-bit. The device normalises."""

import math
import platform

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.types import Pixels, Preprocessing

MAX_ASPECT = 8  # beyond it the longer side is cut first: 4x65535 would become 256 x 4.2 million px
_FAST_ON_BYTES = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") or platform.machine() in (
    "aarch64",
    "arm64",
)


def to_model_input(rgb: Pixels, spec: Preprocessing) -> Pixels:
    """Resize and cut one image as torchvision's reference transforms do, but on 8-bit pixels.

    Args:
        rgb: [H, W, 3].

    Returns:
        [3, S, S], contiguous, 0..255, S = `spec.crop`; not normalised. With `fit="crop"` and sides of more
        than 8:1 the middle may lie up to half a pixel from where the reference has it.
    """
    return planes_to_model_input(torch.from_numpy(rgb).permute(2, 0, 1), spec)


def planes_to_model_input(planes: Tensor, spec: Preprocessing) -> Pixels:
    """The same for uint8 [3, H, W] on any device. The result that comes back is small."""
    _work_alone()
    if spec.fit == "crop":
        planes = _cut_to_aspect(planes)
    resized = _resize(planes, _resized_size(planes, spec), spec.interpolation)
    if spec.fit != "stretch":
        resized = _cut_centre(_fill_up(resized, spec), spec)
    pixels: Pixels = resized.contiguous().cpu().numpy()
    return pixels


def normalise(pixels: Pixels, spec: Preprocessing) -> NDArray[np.float32]:
    """The input as a network sees it, for who has no embedder to ask.

    Args:
        pixels: [3, S, S] or [N, 3, S, S], 0..255.
    """
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (spec.mean, spec.std))
    return ((pixels.astype(np.float32) / 255 - mean) / std).astype(np.float32, copy=False)


def _work_alone() -> None:
    """Threads are over images. Those that torch would add within one image only wait, and spin."""
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)  # of this thread: forward passes have set their own


def _resized_size(planes: Tensor, spec: Preprocessing) -> tuple[int, int]:
    """Height and width."""
    if spec.fit == "stretch":
        return spec.crop, spec.crop
    if spec.fit == "squash":
        return spec.resize, spec.resize
    height, width = planes.shape[1:]
    if spec.fit == "pad":
        longest = max(height, width)
        return max(1, round(height * spec.resize / longest)), max(1, round(width * spec.resize / longest))
    longer = spec.resize * max(height, width) // min(height, width)
    return (longer, spec.resize) if height > width else (spec.resize, longer)


def _resize(planes: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """As torchvision does it, bit for bit: on bytes where torch is fast on them, else on rounded floats."""
    if planes.shape[1:] == size:
        return planes
    if interpolation == "lanczos":
        planes = planes.cpu()  # torch has it nowhere else
    # A batch of one with the channels innermost, if they were: torch keeps this order and need not repack.
    batch = planes.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
    on_bytes = planes.device.type == "cpu" and (interpolation != "bilinear" or _FAST_ON_BYTES)
    resized = functional.interpolate(
        batch if on_bytes else batch.float(), size, mode=interpolation, align_corners=False, antialias=True
    )
    if not on_bytes:
        resized = resized.clamp_(0, 255).round_().to(torch.uint8)  # bicubic and lanczos overshoot
    return resized[0]


def _fill_up(planes: Tensor, spec: Preprocessing) -> Tensor:
    """At least `spec.crop` in both directions, with the image in the middle."""
    height, width = planes.shape[1:]
    across, down = max(0, spec.crop - width), max(0, spec.crop - height)
    if not across and not down:
        return planes
    colour = torch.tensor(spec.fill, dtype=torch.uint8, device=planes.device).view(3, 1, 1)
    filled = colour.expand(3, height + down, width + across).clone()
    filled[:, down // 2 : down // 2 + height, across // 2 : across // 2 + width] = planes
    return filled


def _cut_centre(planes: Tensor, spec: Preprocessing) -> Tensor:
    side = spec.crop
    rounded = math.floor if spec.centre == "down" else round
    top, left = (rounded((length - side) / 2) for length in planes.shape[1:])
    return planes[:, top : top + side, left : left + side]


def _cut_to_aspect(planes: Tensor) -> Tensor:
    """The middle of an image whose longer side is more than MAX_ASPECT times the shorter one."""
    height, width = planes.shape[1:]
    longest = MAX_ASPECT * min(height, width)
    top, left = max(0, height - longest) // 2, max(0, width - longest) // 2
    return planes[:, top : height - top, left : width - left]
