"""The same network, faster: batch norms folded into the convolutions before them, bfloat16 where the hardware
has it. Both are checked against the network as it was given before they are used.
"""

import copy
import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError
from torch.nn import functional

from pipeline.adapters.models.passes import PASSES
from pipeline.errors import ModelError
from pipeline.types import ModelSpec

logger = logging.getLogger(__name__)

MIN_COSINE = 0.999  # between an embedding in bfloat16 and the same in float32; ResNet-18 has 0.99999
PROBES = 4
_FOLDING_FAILURES = (TraceError, TypeError, AttributeError, KeyError, NotImplementedError, RuntimeError)


def pick_dtype(precision: str, *, native: bool) -> torch.dtype:
    """Args: `precision` is auto, float32 or bfloat16; `native`: the device computes in bfloat16 itself."""
    lower = native if precision == "auto" else precision == "bfloat16"
    return torch.bfloat16 if lower else torch.float32


def has_native_bfloat16(device: torch.device) -> bool:
    """Emulated bfloat16 is slower than float32, so it does not count."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Private, and the only way to ask; where a later torch has them no more, float32 is always right.
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, test, bool)()) for test in tests)


@torch.inference_mode()
def quicken(
    module: nn.Module, spec: ModelSpec, *, device: torch.device, dtype: torch.dtype, required: bool = False
) -> tuple[nn.Module, torch.dtype]:
    """Make a feature module ready for the device.

    Args:
        module: [N, 3, S, S] of normalised float32 to [N, D].
        dtype: to compute in: bfloat16 where it keeps every embedding within `MIN_COSINE` of float32.
        required: there is no other way but `dtype`.

    Returns:
        The module and the type that it takes.

    Raises:
        ModelError: bfloat16 is required and would move the embeddings too far.
    """
    # Convolutions are faster with the channels innermost, on GPUs and on CPUs alike.
    exact = module.eval().to(device).to(memory_format=torch.channels_last)
    folded = _fold_batch_norms(exact)
    if folded is exact and dtype is torch.float32:
        return exact, dtype  # nothing was made faster, so nothing is compared
    probes = make_probes(spec, device)
    wanted = wanted_rows(exact, probes)
    if folded is not exact and least_cosine(folded, probes, wanted) < MIN_COSINE:
        folded = exact
    if dtype is torch.float32:
        return folded, torch.float32
    # Weights too. A forward pass then reads half the bytes, and no cast is left in it.
    lowered = copy.deepcopy(folded).to(torch.bfloat16)
    cosine = least_cosine(lowered, probes.to(torch.bfloat16), wanted)
    if cosine >= MIN_COSINE:
        return lowered, torch.bfloat16
    message = f"{spec.name}: an embedding in bfloat16 has cosine {cosine:.4f} to float32, under {MIN_COSINE}"
    if required:
        raise ModelError(f"{message}; set PICTOR_PRECISION=float32")
    logger.warning(message)
    return folded, torch.float32


def _fold_batch_norms(module: nn.Module) -> nn.Module:
    """A copy with each batch norm folded into the convolution before it. The module itself where the graph of
    its calls cannot be followed, or there is nothing to fold."""
    if not any(isinstance(part, nn.BatchNorm2d) for part in module.modules()):
        return module
    try:
        with PASSES.none():
            folded = fuse(module)
        return folded.to(memory_format=torch.channels_last)
    except _FOLDING_FAILURES:
        return module


def make_probes(spec: ModelSpec, device: torch.device) -> Tensor:
    """[4, 3, S, S] of normalised noise at several scales, as in pictures. The same everywhere."""
    side = spec.preprocessing.crop
    source = torch.Generator().manual_seed(0)
    layers = [
        functional.interpolate(torch.rand(PROBES, 3, cells, cells, generator=source), size=(side, side))
        for cells in (2, 7, 31)
    ]
    rgb = torch.stack(layers).mean(0)
    how = spec.preprocessing
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (how.mean, how.std))
    return ((rgb - mean) / std).to(device).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def wanted_rows(module: nn.Module, probes: Tensor) -> Tensor:
    """[N, D] of unit length: the embeddings as the network was given."""
    with PASSES.one():
        return unit_rows(module.eval()(probes))


@torch.inference_mode()
def least_cosine(features: Callable[[Tensor], Tensor], probes: Tensor, wanted: Tensor) -> float:
    """To the `wanted` rows of unit length. -1 when it cannot compute it, or not a number comes out."""
    try:
        with PASSES.one():
            cosines = (unit_rows(features(probes)) * wanted).sum(1)
    except RuntimeError:  # an operation that does not exist in this type
        return -1.0
    least = float(cosines.min())
    return -1.0 if math.isnan(least) else least


def unit_rows(features: Tensor) -> Tensor:
    return functional.normalize(features.flatten(1).float(), dim=1)
