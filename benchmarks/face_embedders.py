"""Face embedders of a usual size, with random weights. Speed does not depend on what they have learnt.

The shape is that of the iResNets that ArcFace uses. A block is batch norm, convolution, batch norm,
PReLU, convolution of the block's stride and batch norm. A picture of 112 px ends as 512 x 7 x 7 numbers, and
those as 512.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

DEPTHS: Mapping[str, tuple[int, ...]] = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
}
CHANNELS = (64, 128, 256, 512)
SIDE_PX = 112
DIM = 512


def write_embedder(name: str, path: Path) -> None:
    """An ONNX file for any number of faces. Args: `name`, one of DEPTHS."""
    onnx.save(embedder_of(name), path)


def embedder_of(name: str, *, channels: Sequence[int] = CHANNELS) -> onnx.ModelProto:
    """Args: `channels` of its four stages."""
    graph, entering = _Graph(), channels[0]
    values = graph.prelu(graph.norm(graph.conv("faces", 3, entering, kernel=3), entering), entering)
    for leaving, blocks in zip(channels, DEPTHS[name], strict=True):
        for number in range(blocks):
            values = graph.block(values, entering, leaving, stride=1 if number else 2)
            entering = leaving
    side = SIDE_PX // 2 ** len(channels)
    flat = graph.add("Flatten", [graph.norm(values, entering)], axis=1)
    inner = entering * side * side
    weights = graph.weights((DIM, inner), scale=inner**-0.5)
    found = graph.add("Gemm", [flat, weights, graph.weights((DIM,), scale=0.1)], transB=1)
    return graph.model(found)


class _Graph:
    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def block(self, values: str, entering: int, leaving: int, *, stride: int) -> str:
        inner = self.norm(values, entering)
        inner = self.prelu(self.norm(self.conv(inner, entering, leaving, kernel=3), leaving), leaving)
        inner = self.norm(self.conv(inner, leaving, leaving, kernel=3, stride=stride), leaving)
        if stride != 1 or entering != leaving:
            values = self.norm(self.conv(values, entering, leaving, kernel=1, stride=stride), leaving)
        return self.add("Add", [inner, values])

    def conv(self, values: str, entering: int, leaving: int, *, kernel: int, stride: int = 1) -> str:
        shape = (leaving, entering, kernel, kernel)
        weights = self.weights(shape, scale=(entering * kernel * kernel) ** -0.5)
        pad = kernel // 2
        return self.add("Conv", [values, weights], strides=[stride] * 2, pads=[pad] * 4)

    def norm(self, values: str, channels: int) -> str:
        about_one, about_zero = (self._tensor(self._of((channels,), 0.1) + add) for add in (1, 0))
        mean, variance = self._tensor(self._of((channels,), 0.1)), self._tensor(np.ones(channels, np.float32))
        return self.add("BatchNormalization", [values, about_one, about_zero, mean, variance])

    def prelu(self, values: str, channels: int) -> str:
        return self.add("PRelu", [values, self._tensor(np.full((channels, 1, 1), 0.25, np.float32))])

    def weights(self, shape: Sequence[int], *, scale: float) -> str:
        return self._tensor(self._of(shape, scale))

    def add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"value{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def model(self, output: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes,
            "embedder",
            [helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["batch", 3, SIDE_PX, SIDE_PX])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", DIM])],
            self._weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)

    def _of(self, shape: Sequence[int], scale: float) -> NDArray[np.float32]:
        return (self._random.standard_normal(shape) * scale).astype(np.float32)

    def _tensor(self, values: NDArray[np.float32]) -> str:
        name = f"weights{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name
