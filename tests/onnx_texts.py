"""Tiny towers of texts in ONNX files, and their tokenizers."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.hf_texts import word_tokenizer
from tests.onnx_models import DIM, network, write_onnx_model

WORDS = 32  # that the network knows, more than the tokenizer has


def text_network(*, dim: int = DIM, answer: str = "rows", with_mask: bool = True, kind: str = "ids") -> bytes:
    """A table of word vectors, and the sum of those of a text.

    Args:
        answer: what it gives: "rows" is [N, D], "tokens" [N, T, D].
        with_mask: it knows which tokens only fill up. Without, the mean of all.
        kind: of its inputs: "ids" are whole numbers, "float" are not.
    """
    table = np.random.default_rng(1).normal(size=(WORDS, dim)).astype(np.float32)
    number = TensorProto.FLOAT if kind == "float" else TensorProto.INT64
    inputs = [helper.make_tensor_value_info("input_ids", number, ["N", "T"])]
    nodes = [helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.INT64)]
    nodes += [helper.make_node("Gather", ["table", "ids"], ["tokens"])]
    if with_mask:
        inputs += [helper.make_tensor_value_info("attention_mask", number, ["N", "T"])]
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["weights"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["weights", "last"], ["columns"]),
            helper.make_node("Mul", ["tokens", "columns"], ["meant"]),
            helper.make_node("ReduceSum", ["meant", "middle"], ["rows"], keepdims=0),
        ]
    else:
        nodes += [helper.make_node("ReduceMean", ["tokens"], ["rows"], axes=[1], keepdims=0)]
    shape: list[int | str | None] = ["N", dim] if answer == "rows" else ["N", "T", dim]
    graph = helper.make_graph(
        nodes,
        "texts",
        inputs,
        [helper.make_tensor_value_info(answer, TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2], np.int64), "last"),
            numpy_helper.from_array(np.array([1], np.int64), "middle"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_two_towers(folder: Path, body: bytes | None = None, **keys: str) -> Path:
    """A model file of both towers. Args: `keys` are those of the section [text], of TOML source."""
    file = write_onnx_model(folder, network())
    (folder / "t.onnx").write_bytes(text_network() if body is None else body)
    word_tokenizer(start=False, max_tokens=16)._tokenizer.save(str(folder / "tokenizer.json"))
    lines = {"weights": '"t.onnx"', "tokenizer": '"tokenizer.json"', "max_tokens": "16"} | keys
    section = "".join(f"{key} = {value}\n" for key, value in lines.items() if value)
    file.write_text(f"{file.read_text()}\n[text]\n{section}")
    return file
