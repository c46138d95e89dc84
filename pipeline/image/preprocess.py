"""An upright RGB image becomes a model's input: resized, cut, still 8-bit. The device normalises."""

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from pipeline.types import Pixels, Preprocessing

MAX_ASPECT = 8  # beyond it the longer side is cut first: 4x65535 would become 256 x 4.2 million px
_INTERPOLATION = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}


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
    resized = functional.resize(
        planes,
        size=[spec.crop, spec.crop] if spec.fit == "stretch" else [spec.resize],
        interpolation=_INTERPOLATION[spec.interpolation],
        antialias=True,
    )
    if spec.fit == "crop":
        resized = functional.center_crop(resized, [spec.crop, spec.crop])
    pixels: Pixels = resized.contiguous().cpu().numpy()
    return pixels


def _work_alone() -> None:
    """Threads are over images. Those that torch would add within one image only wait, and spin."""
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)  # of this thread: forward passes have set their own


def _cut_to_aspect(planes: Tensor) -> Tensor:
    """The middle of an image whose longer side is more than MAX_ASPECT times the shorter one."""
    height, width = planes.shape[1:]
    longest = MAX_ASPECT * min(height, width)
    top, left = max(0, height - longest) // 2, max(0, width - longest) // 2
    return planes[:, top : height - top, left : width - left]
