#!/usr/bin/env bash
# openvino 2026.4.1: on a CPU, a network with 16-bit activations gives wrong numbers, without an error or a warning.
#
# `QuantizeLinear`, as ONNX defines it, saturates: with uint16, zero point 0 and scale 6/65535, what is below 0 becomes
# 0, and what is above 6 becomes 6. `quantize_static` of ONNX Runtime relies on that, and leaves Relu and Clip out. The
# CPU plugin of OpenVINO takes quantisers of 16 bits away and puts no clamp in their place, so the network has lost its
# activation functions. It is the same with int16. 8 bits are right, and so are 16 where Clip is kept in the file.
#
# Whoever quantises a network with 16-bit activations by ONNX Runtime's tools, and runs the file by OpenVINO, gets wrong
# embeddings or classes: here with a cosine to float32 of -0.47, where ONNX Runtime has 1.00 with the same file. The
# extra option QDQKeepRemovableActivations of `quantize_static` keeps them right.
#
# Seen on an AMD EPYC with AVX512-VNNI, what a quantiser for 0 to 6 makes of -60, -1, 1.5, 6 and 60:
#   onnxruntime, uint8 and uint16   0, 0, 1.5, 6, 6
#   openvino, uint8                 0, 0, 1.5, 6, 6
#   openvino, uint16 and int16      -60, -1, 1.5, 6, 60
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
    openvino==2026.4.1 openvino-telemetry==2025.2.0 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$place"
cat > activations.py <<'PYTHON'
import urllib.request

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static


def urlopen(*_args, **_named):
    """Importing openvino sends an event: see openvino-reports-its-import.sh."""
    raise OSError("nothing leaves this machine")


urllib.request.urlopen = urlopen
import openvino


def by_onnx_runtime(path, x):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def by_openvino(path, x):
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled({"x": x})[0]


def save(path, nodes, weights, shape):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(shape))
    tensors = [numpy_helper.from_array(np.asarray(weight), name) for name, weight in weights.items()]
    graph = helper.make_graph(nodes, "network", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def save_smallest(path, integer):
    """A convolution that changes nothing, and a quantiser for 0 to 6."""
    bounds = np.iinfo(integer)
    scale = np.float32(6 / (int(bounds.max) - int(bounds.min)))
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    kernel = np.ones((1, 1, 1, 1), np.float32)
    weights = {"kernel": kernel, "scale": scale, "zero": integer(bounds.min)}
    save(path, nodes, weights, [1, 1, 1, 5])


def save_network(path):
    """float32: convolutions with ReLU6 like those of mobilenet_v2, a depthwise one between, and a mean."""
    random = np.random.default_rng(0)
    nodes, weights, last = [], {"low": np.float32(0), "high": np.float32(6)}, "x"
    for number, (taken, given, side, groups) in enumerate([(3, 16, 3, 1), (16, 16, 3, 16), (16, 64, 1, 1)]):
        spread = (2 / (taken // groups * side * side)) ** 0.5
        kernel = random.normal(0, spread, (given, taken // groups, side, side))
        weights[f"kernel{number}"] = kernel.astype(np.float32)
        inputs, pads = [last, f"kernel{number}"], [side // 2] * 4
        nodes.append(helper.make_node("Conv", inputs, [f"c{number}"], f"conv{number}", group=groups, pads=pads))
        last = f"r{number}"
        nodes.append(helper.make_node("Clip", [f"c{number}", "low", "high"], [last], f"clip{number}"))
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["y"], "mean"))
    save(path, nodes, weights, [1, 3, 32, 32])


class Pictures(CalibrationDataReader):
    def __init__(self):
        self.left = iter(PICTURES)

    def get_next(self):
        return next(({"x": picture} for picture in self.left), None)


def quantise(path, activations, *, keeps_clip=False):
    quantize_static(
        "float32.onnx",
        path,
        Pictures(),
        quant_format=QuantFormat.QDQ,
        activation_type=activations,
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"QDQKeepRemovableActivations": keeps_clip},
    )


def least_cosine(run, path):
    """Of the vectors of all pictures, to those of the float32 network."""
    right = np.stack([by_onnx_runtime("float32.onnx", picture).ravel() for picture in PICTURES])
    found = np.stack([run(path, picture).ravel() for picture in PICTURES])
    return min(a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(right, found, strict=True))


print("a quantiser for 0 to 6 behind a convolution")
x = np.array([-60, -1, 1.5, 6, 60], np.float32).reshape(1, 1, 1, 5)
for integer in (np.uint8, np.int8, np.uint16, np.int16):
    path = f"{integer.__name__}.onnx"
    save_smallest(path, integer)
    told = {run.__name__: np.round(run(path, x).ravel(), 2) for run in (by_onnx_runtime, by_openvino)}
    print(f"{integer.__name__:6} onnxruntime {told['by_onnx_runtime']}  openvino {told['by_openvino']}")
    assert np.allclose(told["by_onnx_runtime"], [0, 0, 1.5, 6, 6], atol=0.02)
    saturates = np.allclose(told["by_openvino"], told["by_onnx_runtime"], atol=0.02)
    assert saturates == (integer in (np.uint8, np.int8)), f"{path}: this finding is out of date"

print("least cosine to float32 of a network with ReLU6, quantised by quantize_static")
PICTURES = np.random.default_rng(1).normal(0, 1, (16, 1, 3, 32, 32)).astype(np.float32)
save_network("float32.onnx")
print(f"{'float32':22} openvino {least_cosine(by_openvino, 'float32.onnx'):.3f}")
for name, activations, keeps_clip, is_right in (
    ("uint8", QuantType.QUInt8, False, True),
    ("uint16", QuantType.QUInt16, False, False),
    ("uint16, Clip is kept", QuantType.QUInt16, True, True),
):
    quantise("quantised.onnx", activations, keeps_clip=keeps_clip)
    ours, theirs = (least_cosine(run, "quantised.onnx") for run in (by_onnx_runtime, by_openvino))
    print(f"{name:22} onnxruntime {ours:.3f}, openvino {theirs:.3f}")
    assert ours > 0.98
    assert (theirs > 0.98) == is_right, f"{name}: this finding is out of date"
PYTHON
"$place/venv/bin/python" activations.py 2> said || { cat said; exit 1; }
