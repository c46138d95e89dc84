"""Reduced images keep the aspect ratio that matters: the one after the resize that follows."""

from pipeline.types import Pixels

_CUTS = ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0))  # columns and rows, the smallest first


def cut_to_aspect(rgb: Pixels, size: tuple[int, int], target_px: int) -> Pixels:
    """Cut a row or column off a reduced image where rounding would tell it from the original.

    Half of 1365x2048 is 683x1024. With a shorter side of 256, one becomes 384 long, the other 383: the
    middle that the model sees moves by half a pixel, and the embedding of a busy picture by 0.02 (cosine).

    Args:
        rgb: [H, W, 3], stored way round, as is `size`.
        size: width and height before the reduction, px.
    """
    height, width = rgb.shape[:2]
    wanted = _longer_side(*size, target_px)
    for columns, rows in _CUTS:
        if min(width - columns, height - rows) < 1:
            continue
        if _longer_side(width - columns, height - rows, target_px) == wanted:
            return rgb[: height - rows, : width - columns]
    return rgb


def _longer_side(width: int, height: int, target_px: int) -> int:
    return int(target_px * max(width, height) / min(width, height))  # as torchvision computes it
