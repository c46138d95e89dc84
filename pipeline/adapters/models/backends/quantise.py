"""An exported network with weights and activations of 8 bits. Needs `pictor[int8]`."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.models.backends.exported import INPUT
from pipeline.errors import ConfigError, ModelError

ITEMS = 8  # of one pass


def quantise(network: Path, images: NDArray[np.float32], target: Path, *, model: str) -> None:
    """Write the network in 8 bits.

    Args:
        network: an exported one, in float32.
        images: [N, 3, S, S], normalised. The ranges of the activations are those that these images cause.

    Raises:
        ConfigError: what it needs is not installed.
        ModelError: this network has no form in 8 bits.
    """
    tools = _tools()
    root = logging.getLogger()
    was, root.disabled = root.disabled, True  # the tools give advice there
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepared = Path(folder) / "prepared.onnx"
            tools.shape_inference.quant_pre_process(str(network), str(prepared))  # folds batch norms
            tools.quantize_static(
                str(prepared),
                str(target),
                _Reader(images),
                quant_format=tools.QuantFormat.QDQ,
                activation_type=tools.QuantType.QUInt8,  # with signed weights, what VNNI multiplies
                weight_type=tools.QuantType.QInt8,
                per_channel=True,
            )
    except Exception as err:  # the tools raise whatever their steps do
        raise ModelError(f"{model}: this network cannot be computed in int8") from err
    finally:
        root.disabled = was


class _Reader:
    """Hands the images to the tools in small groups."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._groups: Iterator[NDArray[np.float32]] = (
            images[start : start + ITEMS] for start in range(0, len(images), ITEMS)
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        group = next(self._groups, None)
        return None if group is None else {INPUT: group}


def _tools() -> Any:
    try:
        import onnxruntime.quantization as tools
        import onnxruntime.quantization.shape_inference  # noqa: F401
    except ImportError as err:
        raise ConfigError("int8 needs ONNX and ONNX Runtime; `pip install 'pictor[int8]'`") from err
    return tools
