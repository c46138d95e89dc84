"""The section [embedding] of a model file: what is made of the network's answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from pipeline.adapters.models.model_keys import Rule, Rules, check_keys, one_of, whole_number
from pipeline.errors import ModelError

SECTION = "embedding"
EMBEDDING: Rule = (f"a section [{SECTION}]", lambda value: isinstance(value, dict))
MAX_DIM = 32_768  # what Milvus takes


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingSettings:
    """`dim` is how many of the first numbers are kept; 0 for all. `dtype` is what the network computes in;
    empty for what the settings say."""

    dim: int = 0
    dtype: str = ""


_KEYS: Rules = {
    "normalize": ("true: scores are cosines, so every vector has unit length", lambda value: value is True),
    "dim": whole_number(2, MAX_DIM),
    "dtype": one_of("float32", "bfloat16"),
}


def read_embedding(table: Mapping[str, object], path: Path) -> EmbeddingSettings:
    """Args: `table` of the whole model file. Raises ModelError: a key is unknown or of an unusable value."""
    section = table.get(SECTION, {})
    assert isinstance(section, dict), "it was checked"
    check_keys(section, _KEYS, (), where=f"model file {path}: [{SECTION}]")
    return EmbeddingSettings(dim=section.get("dim", 0), dtype=section.get("dtype", ""))


def cut(module: nn.Module, dim: int, settings: EmbeddingSettings, *, name: str) -> tuple[nn.Module, int]:
    """The module that gives the first numbers alone, and how many.

    Args:
        dim: how many the module gives.

    Raises:
        ModelError: it gives fewer than are to be kept.
    """
    kept = kept_dim(dim, settings, name=name)
    return (module, dim) if kept == dim else (FirstNumbers(module, kept), kept)


def kept_dim(dim: int, settings: EmbeddingSettings, *, name: str) -> int:
    """Raises ModelError: a model of `dim` numbers gives fewer than are to be kept."""
    if settings.dim > dim:
        raise ModelError(f"{name}: [{SECTION}] dim = {settings.dim}, and its network gives {dim} numbers")
    return settings.dim or dim


def name_cut(architecture: str, dim: int, *, of: int) -> str:
    """What the fingerprint covers: a model that is not cut is what it was before models could be."""
    return architecture if dim == of else f"{architecture} first {dim}"


class FirstNumbers(nn.Module):
    """A Matryoshka embedding, cut. The rows are made unit length after it."""

    def __init__(self, module: nn.Module, dim: int) -> None:
        super().__init__()
        self.module = module
        self.dim = dim

    def forward(self, pixels: Tensor) -> Tensor:
        rows: Tensor = self.module(pixels)
        return rows[:, : self.dim]
