"""The builtin model: a training-free image descriptor. Nothing is learned, nothing is downloaded.

It answers "the same picture, edited" and "similar colours and layout", not "the same kind of thing". Four
parts, each scaled by its weight, then the whole made unit length by the embedder:

colours           joint histogram of two opponent chroma axes and lightness (Swain & Ballard 1991, "Color
                  indexing"), lightness standardised per image, so brightness and contrast edits move little
balanced colours  the same after grey-world balancing (Buchsbaum 1980), for colour casts
layout            oriented gradient energy on a 6 x 6 grid (Dalal & Triggs 2005, HOG; Oliva & Torralba 2001,
                  GIST): the grid plus its mirror image, and their absolute difference. Equal for an image
                  and its mirror image, while top and bottom stay apart
symmetric layout  8 x 8 cells: mean and spread over the eight rotations and flips of the square. Equal for all
                  eight

Histograms are divided by their sum and square-rooted before they are compared by cosine (Arandjelović &
Zisserman 2012, RootSIFT), then centred: without it two unrelated images would score 0.8. Weights and
bin counts were tuned by hand on edited copies and on photographs of groceries.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.adapters.models.builtin_spec import BUILTIN_PREPROCESSING

ORIENTATIONS = 8  # even, so that a quarter turn moves each bin onto another
COLOUR_PX = 32  # colours are counted on 32 x 32: fine enough for areas, blind to JPEG noise
LAYOUT_CELLS, SYMMETRIC_CELLS = 6, 8
COLOURS_WEIGHT, BALANCED_WEIGHT, LAYOUT_WEIGHT, SYMMETRIC_WEIGHT = 0.75, 0.65, 0.55, 0.85
FLAT_GRADIENT = 0.004  # mean gradient of one grey level: below it layout is noise and fades out


class BuiltinDescriptor(nn.Module):
    """[N, 3, 128, 128] in 0..1 to [N, 919], finite and never zero, not yet unit length."""

    layout_pool: Tensor
    symmetric_pool: Tensor

    def __init__(self) -> None:
        super().__init__()
        side = BUILTIN_PREPROCESSING.crop
        self.register_buffer("layout_pool", _soft_cells(side, LAYOUT_CELLS), persistent=False)
        self.register_buffer("symmetric_pool", _soft_cells(side, SYMMETRIC_CELLS), persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        small = functional.adaptive_avg_pool2d(rgb, COLOUR_PX)
        energy = _oriented_energy(rgb)
        contrast = energy.sum(1).mean((1, 2))[:, None]
        has_layout = contrast / (contrast + FLAT_GRADIENT)
        return torch.cat(
            [
                COLOURS_WEIGHT * _colour_histogram(small, chroma_bins=9, light_bins=4, gain=2.0),
                BALANCED_WEIGHT
                * _colour_histogram(_balance_grey(small), chroma_bins=7, light_bins=3, gain=3.0),
                LAYOUT_WEIGHT * has_layout * _layout(_pool(energy, self.layout_pool)),
                SYMMETRIC_WEIGHT * has_layout * _symmetric_layout(_pool(energy, self.symmetric_pool)),
            ],
            dim=1,
        )


def _colour_histogram(rgb: Tensor, *, chroma_bins: int, light_bins: int, gain: float) -> Tensor:
    """Soft joint histogram, [N, chroma² · light], unit length.

    Args:
        gain: stretches the chroma axes. Most pixels are nearly grey, and 1.0 would waste the outer bins.
    """
    red, green, blue = rgb.unbind(1)
    light = (red + green + blue) / 3
    mean, spread = light.mean((1, 2), keepdim=True), light.std((1, 2), keepdim=True)
    light = 0.5 + 0.2 * (light - mean) / (spread + 0.02)  # ±2.5 deviations fill 0..1; 0.02 keeps noise small
    red_green = 0.5 + gain * (red - green) / 2
    yellow_blue = 0.5 + gain * (red + green - 2 * blue) / 4
    chroma = _soft_bins(red_green, chroma_bins)[:, :, None] * _soft_bins(yellow_blue, chroma_bins)[:, None]
    counts = chroma.flatten(1, 2).flatten(2) @ _soft_bins(light, light_bins).flatten(2).transpose(1, 2)
    return _unit(_centre((counts.flatten(1) / COLOUR_PX**2).sqrt()))


def _balance_grey(rgb: Tensor) -> Tensor:
    """Scale the channels to one mean, 0.4."""
    mean = rgb.mean((2, 3), keepdim=True)
    grey = mean.mean(1, keepdim=True)
    balanced = rgb * (grey + 0.02) / (mean + 0.02)  # 0.02: a channel that is nearly absent is not blown up
    return (balanced * 0.4 / (balanced.mean((1, 2, 3), keepdim=True) + 0.05)).clamp(0, 1)


def _oriented_energy(rgb: Tensor) -> Tensor:
    """Gradient magnitude shared between the two nearest of 8 orientations, [N, 8, S, S]."""
    red, green, blue = rgb.unbind(1)
    grey = functional.pad(
        (0.299 * red + 0.587 * green + 0.114 * blue)[:, None], (1, 1, 1, 1), mode="replicate"
    )
    across = (grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]).squeeze(1)
    down = (grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]).squeeze(1)
    magnitude = torch.hypot(across, down)
    # Direction modulo a half turn: light on dark and dark on light are the same edge.
    angle = torch.remainder(torch.atan2(down, across) * (ORIENTATIONS / math.pi), ORIENTATIONS)
    bins = torch.arange(ORIENTATIONS, device=rgb.device, dtype=rgb.dtype)[None, :, None, None]
    distance = (angle[:, None] - bins).abs()
    distance = torch.minimum(distance, ORIENTATIONS - distance)
    return (1 - distance).clamp_min_(0) * magnitude[:, None]


def _pool(energy: Tensor, cells: Tensor) -> Tensor:
    """Sum into overlapping cells, then divide, root and centre, [N, 8, G, G]."""
    pooled = cells @ energy @ cells.T
    share = pooled / (pooled.sum((1, 2, 3), keepdim=True) + 1e-6)
    root = share.sqrt()
    return root - root.mean((1, 2, 3), keepdim=True)


def _layout(grid: Tensor) -> Tensor:
    """[N, 8 · G²], the same for an image and its mirror image, unit length."""
    left = slice(0, grid.shape[3] // 2)  # the right half repeats it
    mirrored = _mirror(grid)
    parts = torch.cat([(grid + mirrored)[..., left], (grid - mirrored).abs()[..., left]], dim=1)
    return _unit(parts.flatten(1))


def _symmetric_layout(grid: Tensor) -> Tensor:
    """[N, 2 · 8 · 10], the same for all eight rotations and flips, unit length."""
    turns = [grid]
    for _ in range(3):
        turns.append(_turn(turns[-1]))
    orbit = torch.stack([*turns, *(_mirror(turned) for turned in turns)])
    half = grid.shape[3] // 2
    rows, columns = torch.triu_indices(half, half, device=grid.device)  # the other cells repeat these
    mean, spread = orbit.mean(0), orbit.std(0, unbiased=False)
    return _unit(torch.cat([mean[:, :, rows, columns], spread[:, :, rows, columns]], dim=1).flatten(1))


def _mirror(grid: Tensor) -> Tensor:
    bins = -torch.arange(ORIENTATIONS, device=grid.device) % ORIENTATIONS
    return grid.flip(3)[:, bins]


def _turn(grid: Tensor) -> Tensor:
    bins = (torch.arange(ORIENTATIONS, device=grid.device) + ORIENTATIONS // 2) % ORIENTATIONS
    return grid.rot90(1, (2, 3))[:, bins]


def _soft_cells(side: int, cells: int) -> Tensor:
    """Gaussian weights of each pixel row in each cell, [cells, side]: soft borders forgive small shifts."""
    centres = (torch.arange(cells) + 0.5) * side / cells
    pixels = torch.arange(side) + 0.5
    spread = 0.5 * side / cells
    weights = torch.exp(-0.5 * ((pixels[None] - centres[:, None]) / spread).square())
    return weights / weights.sum(1, keepdim=True)


def _soft_bins(values: Tensor, bins: int) -> Tensor:
    """Share each value of 0..1 between its two nearest bins, [N, bins, H, W]."""
    position = values.clamp(0, 1)[:, None] * (bins - 1)
    centres = torch.arange(bins, device=values.device, dtype=values.dtype)[None, :, None, None]
    return (1 - (position - centres).abs()).clamp_min(0)


def _centre(rows: Tensor) -> Tensor:
    return rows - rows.mean(1, keepdim=True)


def _unit(rows: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / (length + 1e-6)  # an image without edges has a layout of zero length
