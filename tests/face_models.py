"""Face models of a few numbers, and pictures of the faces that they find.

A face is a square of 4 x 4 coloured cells with a mark in its middle: a red one in a square of 64 px, a blue
one in a square of 128 px. The detector answers as YuNet does, and the embedder says the colours of the cells.
"""

import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pipeline.adapters.models.faces.alignment import ARCFACE

DIM = 48
MARKS = {8: (255, 0, 0), 16: (0, 0, 255)}  # by the stride of the detector that sees them
FACE_PX = {8: 64, 16: 128}
GREY = (120, 120, 120)


@dataclass(frozen=True, kw_only=True)
class DrawnFace:
    """`person` gives the colours. Column and row are counted in cells of the detector."""

    person: int
    column: int
    row: int = 0
    stride: int = 8

    @property
    def side_px(self) -> int:
        return FACE_PX[self.stride]

    @property
    def left(self) -> int:
        return self.stride * self.column + self.stride // 2  # its mark fills a cell

    @property
    def top(self) -> int:
        return self.stride * self.row + self.stride // 2


def draw(faces: Sequence[DrawnFace], *, width: int = 320, height: int = 240) -> NDArray[np.uint8]:
    rgb = np.full((height, width, 3), GREY, np.uint8)
    for face in faces:
        side, cell, mark = face.side_px, face.side_px // 4, face.stride
        square = rgb[face.top : face.top + side, face.left : face.left + side]
        square[:] = np.kron(colours_of(face.person), np.ones((cell, cell, 1), np.uint8))
        middle = slice((side - mark) // 2, (side + mark) // 2)
        square[middle, middle] = MARKS[face.stride]
    return rgb


def picture(faces: Sequence[DrawnFace], *, width: int = 320, height: int = 240) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw(faces, width=width, height=height)).save(buffer, "PNG")
    return buffer.getvalue()


def colours_of(person: int) -> NDArray[np.uint8]:
    """[4, 4, 3] with neither red nor blue above green, so that no cell looks like a mark."""
    source = np.random.default_rng(person)
    green = source.integers(40, 220, (4, 4, 1))
    others = (green * source.random((4, 4, 2))).astype(np.int64)
    return np.concatenate([others[..., :1], green, others[..., 1:]], axis=2).astype(np.uint8)


def write_face_model(folder: Path, *, name: str = "tiny-faces", finder: str = "", embedder: str = "") -> Path:
    """Two networks and a model file. Args: `finder`, `embedder`: more lines of these sections."""
    folder.mkdir(parents=True, exist_ok=True)
    networks = {"detector.onnx": detector_network(), "embedder.onnx": embedder_network()}
    for file_name, network in networks.items():
        (folder / file_name).write_bytes(network)
    return write_model_file(folder, name=name, finder=finder, embedder=embedder)


def write_model_file(folder: Path, *, name: str = "tiny-faces", finder: str = "", embedder: str = "") -> Path:
    """Of the networks that lie in the folder."""
    path = folder / f"{name}.toml"
    path.write_text(
        f"""
name = "{name}"
[finder]
detector = "yunet"
weights = "detector.onnx"
sha256 = "{digest_of(folder / "detector.onnx")}"
{finder}
[aligner]
template = "arcface"
[embedder]
weights = "embedder.onnx"
sha256 = "{digest_of(folder / "embedder.onnx")}"
{embedder or f"dim = {DIM}"}
""",
        encoding="utf-8",
    )
    return path


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def detector_network() -> bytes:
    """YuNet's outputs: of stride 8 for red marks, of stride 16 for blue ones, of stride 32 for none."""
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "height", "width"])
    nodes, constants = [], []
    for stride, blue_green_red in ((8, (-1, -1, 1)), (16, (1, -1, -1)), (32, (0, 0, 0))):
        side = FACE_PX.get(stride, stride)
        where = {"box": _box_numbers(stride, side), "points": _point_numbers(stride, side)}
        constants += [
            _tensor(f"colour_{stride}", np.array(blue_green_red).reshape(1, 3, 1, 1) / 255),
            *(_tensor(f"no_{kind}_{stride}", np.zeros((len(made), 1, 1, 1))) for kind, made in where.items()),
            *(_tensor(f"{kind}_{stride}", made) for kind, made in where.items()),
        ]
        nodes += [
            helper.make_node("Conv", ["input", f"colour_{stride}"], [f"coloured_{stride}"]),
            helper.make_node(
                "MaxPool",
                [f"coloured_{stride}"],
                [f"cells_{stride}"],
                kernel_shape=[stride, stride],
                strides=[stride, stride],
            ),
            *(_rows(f"cells_{stride}", f"{kind}_{stride}", 1) for kind in ("cls", "obj")),
        ]
        for kind, output, width in (("box", "bbox", 4), ("points", "kps", 10)):
            nodes += [
                helper.make_node(
                    "Conv",
                    [f"cells_{stride}", f"no_{kind}_{stride}", f"{kind}_{stride}"],
                    [f"{kind}_cells_{stride}"],
                ),
                helper.make_node(
                    "Transpose",
                    [f"{kind}_cells_{stride}"],
                    [f"{kind}_last_{stride}"],
                    perm=[0, 2, 3, 1],
                ),
                _rows(f"{kind}_last_{stride}", f"{output}_{stride}", width),
            ]
    constants += [_shape(width) for width in (1, 4, 10)]
    outputs = [
        helper.make_tensor_value_info(f"{kind}_{stride}", TensorProto.FLOAT, [1, None, width])
        for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
        for stride in (8, 16, 32)
    ]
    return _model(nodes, [image], outputs, constants)


def embedder_network(
    *, items: int | str = "items", layout: str = "nchw", first_channel: bool = False
) -> bytes:
    """The means of 4 x 4 cells of a crop of 112 px in three colours.

    Args:
        items: of one run; a text stands for any number.
        first_channel: of the first colour alone.
    """
    shape = [items, 3, 112, 112] if layout == "nchw" else [items, 112, 112, 3]
    image = helper.make_tensor_value_info("crops", TensorProto.FLOAT, shape)
    planes = helper.make_node("Transpose", ["crops"], ["planes"], perm=[0, 3, 1, 2])
    same = helper.make_node("Identity", ["crops"], ["planes"])
    weights = np.eye(3) * ([1, 0, 0] if first_channel else [1, 1, 1])
    nodes = [
        same if layout == "nchw" else planes,
        helper.make_node("Conv", ["planes", "colours"], ["coloured"]),
        helper.make_node("AveragePool", ["coloured"], ["cells"], kernel_shape=[28, 28], strides=[28, 28]),
        helper.make_node("Flatten", ["cells"], ["embedding"]),
    ]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [items, DIM])
    return _model(nodes, [image], [output], [_tensor("colours", weights.reshape(3, 3, 1, 1))])


def _box_numbers(stride: int, side: int) -> NDArray[np.float64]:
    """A square around the middle of the cell, whose first pixel has its centre at 0."""
    middle = 0.5 - 0.5 / stride
    return np.array([middle, middle, math.log(side / stride), math.log(side / stride)])


def _point_numbers(stride: int, side: int) -> NDArray[np.float64]:
    """Such that the aligned crop is the square."""
    corner = stride / 2 - side / 2
    return np.asarray((corner + (ARCFACE + 0.5) * side / 112 - 0.5) / stride).ravel()


def _rows(values: str, output: str, width: int) -> onnx.NodeProto:
    return helper.make_node("Reshape", [values, f"rows_of_{width}"], [output])


def _shape(width: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array([1, -1, width], np.int64), f"rows_of_{width}")


def _tensor(name: str, values: NDArray[np.float64]) -> onnx.TensorProto:
    return numpy_helper.from_array(values.astype(np.float32), name)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto],
) -> bytes:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString(deterministic=True))
