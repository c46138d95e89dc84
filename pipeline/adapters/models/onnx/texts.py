"""A tower of texts in an ONNX file, with a tokenizer in a file of its own. Both are read from disk alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.models.onnx.network import choose_output, names_of, open_session
from pipeline.adapters.models.onnx.text_file import TextFile
from pipeline.adapters.models.tokenizing import tokenizing
from pipeline.errors import ConfigError, ModelError
from pipeline.types import ModelSpec

_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_PADS = ("[PAD]", "<pad>", "<|endoftext|>")
_PROBES = ["a picture of a red shoe", "snow"]
Ids = NDArray[np.int64]


class OnnxTexts:
    """Implements `ports.TextEmbedder`. Each call computes in its own thread."""

    def __init__(self, file: TextFile, network: Path, tokenizer: Path, spec: ModelSpec) -> None:
        """Args: `network` and `tokenizer` are files that were checked.

        Raises:
            ModelError: one of them is not what the model file says.
            ConfigError: a library is not installed.
        """
        self.spec = spec
        self._file = file
        self._where = f"{spec.name}: {network.name}"
        self._tokenizer = _load_tokenizer(tokenizer, file, spec.name)
        self._session = open_session(network, self._where, "cpu", 1)
        self._inputs = {one.name: _TYPES.get(one.type) for one in self._session.get_inputs()}
        self._output = choose_output(names_of(self._session.get_outputs()), file.output, self._where)
        self._check_inputs()
        rows = self.embed_texts(_PROBES)
        if not np.isfinite(rows).all() or np.allclose(*rows):
            raise ModelError(f"{self._where}: two texts give the same numbers, or none that are finite")

    @property
    def max_tokens(self) -> int:
        return self._file.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        with tokenizing(texts, self.spec.name):
            found = self._tokenizer.encode_batch(list(texts))
        return [sum(encoded.attention_mask) for encoded in found]

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        # One by one: a network whose numbers are quantized as it runs answers otherwise in other company.
        return np.concatenate([self._embed(text) for text in texts])

    def _embed(self, text: str) -> NDArray[np.float32]:
        with tokenizing([text], self.spec.name):
            one = self._tokenizer.encode(text)
        known = {
            "input_ids": np.array([one.ids], np.int64),
            "attention_mask": np.array([one.attention_mask], np.int64),
            "token_type_ids": np.array([one.type_ids], np.int64),
        }
        given = {name: known[name].astype(kind) for name, kind in self._inputs.items() if kind}
        try:
            (answer,) = self._session.run([self._output], given)
        except Exception as err:  # its own classes have no common ancestor but this
            shape = list(known["input_ids"].shape)
            raise ModelError(f"{self._where} does not take tokens of {shape}") from err
        rows = self._pool(answer, known["attention_mask"])[:, : self.spec.dim]
        if rows.shape[1] != self.spec.dim:
            raise ModelError(
                f"{self._where} gives {rows.shape[1]} numbers for a text, and {self.spec.dim} for an image"
            )
        unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def _check_inputs(self) -> None:
        known = ("input_ids", "attention_mask", "token_type_ids")
        odd = [name for name, kind in self._inputs.items() if name not in known or kind is None]
        if odd or "input_ids" not in self._inputs:
            raise ModelError(
                f"{self._where}: whole numbers input_ids, and perhaps attention_mask and token_type_ids, are "
                f"expected as inputs, found {', '.join(self._inputs)}"
            )

    def _pool(self, answer: NDArray[np.float32], mask: Ids) -> NDArray[np.float32]:
        match (answer.ndim, self._file.pooling):
            case (2, "none"):
                return answer
            case (3, "cls"):
                return answer[:, 0]
            case (3, "mean"):
                weights = mask[..., None].astype(np.float32)
                mean: NDArray[np.float32] = (answer * weights).sum(axis=1) / weights.sum(axis=1)
                return mean
        raise ModelError(
            f"{self._where}: output {self._output!r} gives {list(answer.shape)}, and pooling = "
            f"{self._file.pooling!r} makes no [N, D] of it"
        )


def _load_tokenizer(path: Path, file: TextFile, model: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as err:
        raise ConfigError(
            "models that read text need tokenizers; `pip install 'pictor[transformers]'` installs it"
        ) from err
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as err:  # the library raises this class alone
        raise ModelError(f"{model}: {path} is no tokenizer.json, or is damaged") from err
    tokenizer.no_truncation()  # what is too long is refused before it comes here
    own = tokenizer.padding or {}
    number = next((found for pad in _PADS if (found := tokenizer.token_to_id(pad)) is not None), 0)
    tokenizer.enable_padding(
        pad_id=own.get("pad_id", number),
        direction=own.get("direction", "right"),
        length=file.max_tokens if file.padding == "max_length" else None,
    )
    return tokenizer
