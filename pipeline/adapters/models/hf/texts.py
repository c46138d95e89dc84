"""The tower of texts of a folder, with the folder's own tokenizer."""

import threading
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.adapters.models.hf.folder import PIECES, TOKENIZERS, ModelFolder, has_tokenizer
from pipeline.adapters.models.hf.library import transformers
from pipeline.adapters.models.tokenizing import tokenizing
from pipeline.errors import ConfigError, ModelError
from pipeline.types import ModelSpec

_OF_IMAGES = ("vision_model", "visual_projection")
_PROBES = ["a picture of a red shoe", "snow"]
_PADDED = ("siglip", "siglip2")  # they were taught on texts of full length, and read the last token


class HfTexts:
    """Implements `ports.TextEmbedder`, on the CPU and in float32. The tower of images is let go."""

    def __init__(self, network: nn.Module, folder: ModelFolder, spec: ModelSpec) -> None:
        """Raises ModelError: the tokenizer is missing, or is not that of this network."""
        self.spec = spec
        self._name = folder.name
        self._network: Any = network
        self._config: Any = network.config
        self._text_config: Any = getattr(self._config, "text_config", self._config)
        for part in _OF_IMAGES:
            if isinstance(getattr(network, part, None), nn.Module):
                setattr(network, part, None)
        self._tokenizer = _load_tokenizer(folder)
        # The tokenizers of the library keep how they pad, and one thread would change it under another.
        self._lock = threading.Lock()
        self._check(folder.name)

    @property
    def max_tokens(self) -> int:
        return int(min(self._text_config.max_position_embeddings, self._tokenizer.model_max_length))

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        return [len(ids) for ids in self._tokens(texts, truncation=False)["input_ids"]]

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        tokens = self._tokens(texts, **self._padding, return_tensors="pt")
        self._check_known(tokens["input_ids"])
        with torch.inference_mode():
            rows = _rows_of(self._network.get_text_features(**self._inputs(tokens)))[:, : self.spec.dim]
            return nn.functional.normalize(rows, dim=1).numpy()

    def _tokens(self, texts: Sequence[str], **options: object) -> Any:
        with self._lock, tokenizing(texts, self._name):
            return self._tokenizer(list(texts), **options)

    @property
    def _padding(self) -> dict[str, object]:
        if self._config.model_type in _PADDED:
            return {"padding": "max_length", "max_length": self.max_tokens}
        return {"padding": True}

    def _inputs(self, tokens: Any) -> dict[str, Tensor]:
        return {name: tokens[name] for name in ("input_ids", "attention_mask") if name in tokens}

    def _check_known(self, ids: Tensor) -> None:
        largest, known = int(ids.max()), int(self._text_config.vocab_size)
        if largest >= known:
            raise ModelError(
                f"{self._name}: its tokenizer gives token {largest}, and its network knows 0 to {known - 1}"
            )

    def _check(self, name: str) -> None:
        known, words = int(self._text_config.vocab_size), len(self._tokenizer)
        if words > known:
            raise ModelError(f"{name}: its tokenizer has {words} words, and its network knows {known}")
        if self._tokenizer.pad_token is None:
            raise ModelError(f"{name}: its tokenizer has no padding token")
        rows = self.embed_texts(_PROBES)
        if rows.shape != (len(_PROBES), self.spec.dim) or not np.isfinite(rows).all():
            raise ModelError(
                f"{name}: its network gives {list(rows.shape)} for {len(_PROBES)} texts; finite numbers of "
                f"shape [{len(_PROBES)}, {self.spec.dim}] were expected"
            )
        if np.allclose(*rows):
            raise ModelError(
                f"{name}: two texts give the same numbers; its tokenizer is not that of its network"
            )


def _load_tokenizer(folder: ModelFolder) -> Any:
    if not has_tokenizer(folder):
        raise ModelError(f"{folder.name}: folder {folder.path} holds no tokenizer, such as {TOKENIZERS[0]}")
    try:
        return transformers().AutoTokenizer.from_pretrained(
            folder.path, local_files_only=True, trust_remote_code=False
        )
    except Exception as err:  # each tokenizer and its library fail in their own way
        pieces = [name for name in PIECES if (folder.path / name).is_file()]
        if pieces and not (folder.path / TOKENIZERS[0]).is_file() and find_spec("sentencepiece") is None:
            raise ConfigError(
                f"{folder.name}: its tokenizer in {pieces[0]} needs sentencepiece; "
                "`pip install sentencepiece protobuf`, or put the "
                f"{TOKENIZERS[0]} of the same model into {folder.path}"
            ) from err
        raise ModelError(
            f"{folder.name}: transformers cannot read the tokenizer in {folder.path}; it is damaged, or "
            "wants code of its own"
        ) from err


def _rows_of(answer: Any) -> Tensor:
    rows: Tensor = answer if isinstance(answer, Tensor) else answer.pooler_output
    return rows
