"""The fast way for ordinary JPEG: torchvision's decoder. It gives the pixels of Pillow in less time."""

from typing import Protocol, cast

import torch

import pipeline.image.light_torchvision  # noqa: F401 - loads the native decoder that torch.ops.image names
from pipeline.image.decode.opened_image import OpenedImage
from pipeline.types import Pixels

_RGB = 3  # torchvision.io.ImageReadMode.RGB


class _NativeDecoder(Protocol):
    def __call__(self, encoded: torch.Tensor, mode: int, apply_exif_orientation: bool, /) -> torch.Tensor: ...


def _find_native_decoder() -> _NativeDecoder | None:
    """torchvision has deprecated its Python entry and will drop the decoder one day. Then Pillow does all."""
    try:
        return cast(_NativeDecoder, torch.ops.image.decode_jpeg)
    except AttributeError:
        return None


_decode_natively = _find_native_decoder()


def decode_jpeg(opened: OpenedImage, *, goal_px: int) -> Pixels | None:
    """Full decoding of a grey or colour JPEG.

    Returns:
        [H, W, 3], not yet upright. None when Pillow is the one to ask: no JPEG, four components, large enough
        for scaled decoding, or this decoder refused it, in which case Pillow has the last word.
    """
    if opened.jpeg is None or opened.image.mode not in ("L", "RGB") or min(opened.size) >= 2 * goal_px:
        return None
    if _decode_natively is None or not opened.jpeg.has_end_marker:  # it wants an end
        return None
    try:
        # A copy, because torch wants memory that it might write to and warns about anything else.
        encoded = torch.frombuffer(bytearray(opened.jpeg.stripped), dtype=torch.uint8)
        planes = _decode_natively(encoded, _RGB, False)  # orientation is ours to undo
    except RuntimeError:
        return None
    rgb: Pixels = planes.permute(1, 2, 0).contiguous().numpy()  # stored this way round already: no copy
    return rgb
