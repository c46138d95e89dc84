"""The section [text] of a model file: the network that puts texts into the space of its images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapters.models.model_file import read_weights
from pipeline.adapters.models.model_keys import (
    DIGEST,
    NAME,
    WEIGHTS,
    Rule,
    Rules,
    check_keys,
    one_of,
    whole_number,
)
from pipeline.adapters.models.onnx.network import SUFFIX
from pipeline.adapters.models.weights import WeightsRef
from pipeline.errors import ModelError

SECTION = "text"
TEXT: Rule = (f"a section [{SECTION}]", lambda value: isinstance(value, dict))
TOKENIZER_SUFFIX = ".json"
MAX_TOKENS = 8192  # more than any tower of texts reads


@dataclass(frozen=True, kw_only=True, slots=True)
class TextFile:
    """`padding` is what texts are filled up to: the longest of them, or `max_tokens`."""

    weights: WeightsRef
    tokenizer: WeightsRef
    max_tokens: int
    output: str  # empty: the first one
    pooling: str  # "none", "cls" or "mean"
    padding: str  # "longest" or "max_length"

    @property
    def answer(self) -> str:
        """What the fingerprint covers beside the weights."""
        return f"text {self.output or '-'} {self.pooling} {self.padding} {self.max_tokens}"


def read_text_section(table: Mapping[str, object], path: Path) -> TextFile | None:
    """Args: `table` of the whole model file.

    Raises:
        ModelError: a key is missing, unknown or of an unusable value.
    """
    section = table.get(SECTION)
    if section is None:
        return None
    assert isinstance(section, dict), "it was checked"
    where = f"model file {path}: [{SECTION}]"
    check_keys(section, _KEYS, ("weights", "tokenizer", "max_tokens"), where=where)
    for key, wanted in (("weights", SUFFIX), ("tokenizer", TOKENIZER_SUFFIX)):
        if not str(section[key]).endswith(wanted):
            raise ModelError(f"{where} {key} {section[key]}: the name of a {wanted} file is expected")
    return TextFile(
        weights=read_weights(section, path),
        tokenizer=read_weights(section, path, key="tokenizer", digest="tokenizer_sha256"),
        max_tokens=int(section["max_tokens"]),
        output=str(section.get("output", "")),
        pooling=str(section.get("pooling", "none")),
        padding=str(section.get("padding", "longest")),
    )


_KEYS: Rules = {
    "weights": WEIGHTS,
    "sha256": DIGEST,
    "tokenizer": WEIGHTS,
    "tokenizer_sha256": DIGEST,
    "max_tokens": whole_number(2, MAX_TOKENS),
    "output": NAME,
    "pooling": one_of("none", "cls", "mean"),
    "padding": one_of("longest", "max_length"),
}
