"""What --model takes: a name, a folder, or the path of a model file (.toml), which is read once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapters.models.model_table import read_table

_NAMES = ("hf/", "timm/", "torchvision/")  # of families, also where a folder here is called so


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelAddress:
    """`table` holds the keys of a model file, unchecked. None for an address that is no model file."""

    text: str
    table: Mapping[str, object] | None = None

    @property
    def path(self) -> Path:
        return Path(self.text)

    @property
    def architecture(self) -> str:
        """What a model file says of itself. Empty for any other address, or where it does not say."""
        return "" if self.table is None else str(self.table.get("architecture", ""))

    @property
    def name(self) -> str:
        """What a collection calls the model: the same for a folder however its path was typed."""
        if self.table is not None:
            return str(self.table.get("name", ""))
        return self.path.resolve().name if self.is_folder else self.text

    @property
    def kept(self) -> str:
        """As a collection remembers it, which is opened from other folders."""
        return str(self.path.resolve()) if self.table is not None or self.is_folder else self.text

    @property
    def is_folder(self) -> bool:
        """An address of no letters is the folder that somebody works in, and means nothing."""
        if self.table is not None or not self.text.strip() or self.text.startswith(_NAMES):
            return False
        return self.path.is_dir()


def read_address(text: str) -> ModelAddress:
    """Raises ModelError: a model file cannot be read, or is not TOML."""
    return ModelAddress(text=text, table=read_table(Path(text)) if text.endswith(".toml") else None)
