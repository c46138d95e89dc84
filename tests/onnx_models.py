"""Tiny networks in ONNX files, and the model files that describe them."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE_PX, DIM = 16, 8
_ANSWERS = {"rows": [None, DIM], "places": [None, DIM, 4, 4], "tokens": [None, 16, DIM]}


def network(
    *,
    items: int | str = "N",
    layout: str = "nchw",
    answer: str = "rows",
    value: float | None = None,
    takes_bytes: bool = False,
) -> bytes:
    """A convolution of patches of 4 px, whose mean over places is the embedding.

    Args:
        items: how many images it takes at once; a name for any number.
        answer: what it gives: "rows" is [N, D], "places" [N, D, 4, 4], "tokens" [N, 16, D].
        value: of all weights; random ones by default.
        takes_bytes: 0..255, and not normalised floats.
    """
    shape = [items, 3, SIDE_PX, SIDE_PX] if layout == "nchw" else [items, SIDE_PX, SIDE_PX, 3]
    kernel = np.random.default_rng(0).normal(size=(DIM, 3, 4, 4)).astype(np.float32)
    if value is not None:
        kernel[:] = value
    first = [helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2])]
    if layout == "nchw":
        first = [helper.make_node("Identity", ["pixels"], ["planes"])]
    if takes_bytes:
        first[0].input[0] = "floats"
        first.insert(0, helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT))
    kind = TensorProto.UINT8 if takes_bytes else TensorProto.FLOAT
    nodes = [
        *first,
        helper.make_node("Conv", ["planes", "kernel"], ["places"], strides=[4, 4]),
        helper.make_node("Reshape", ["places", "flat"], ["lines"]),
        helper.make_node("Transpose", ["lines"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["tokens"], ["rows"], axes=[1], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", kind, shape)],
        [helper.make_tensor_value_info(answer, TensorProto.FLOAT, _ANSWERS[answer])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(np.array([0, DIM, -1], np.int64), "flat"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_onnx_model(folder: Path, body: bytes, *, embedding: str = "", **keys: str) -> Path:
    """Args: `keys` are more lines, of TOML source; `embedding` those of its section."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "w.onnx").write_bytes(body)
    lines = {
        "name": '"tiny"',
        "architecture": '"onnx"',
        "weights": '"w.onnx"',
        "crop": str(SIDE_PX),
        "mean": "[0.5, 0.4, 0.3]",
        "std": "[0.2, 0.25, 0.3]",
        **keys,
    }
    text = "".join(f"{key} = {value}\n" for key, value in lines.items() if value)
    path = folder / "m.toml"
    path.write_text(text + (f"[embedding]\n{embedding}\n" if embedding else ""))
    return path
