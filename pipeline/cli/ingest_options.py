"""What `pictor ingest` was asked for, whoever does it."""

from collections.abc import Sequence
from dataclasses import dataclass

BUILTIN_NOTICE = (
    "Using the builtin model: a training-free descriptor that finds copies, edits and similar layouts.\n"
    "To find similar things by meaning, choose a trained model: --model torchvision/resnet50,\n"
    "one of Hugging Face or timm, or your own weights with --model FILE.toml (see `pictor models list`)."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestOptions:
    """As the command line gives them. "" and 0 are for the defaults of the settings."""

    source: str
    collection: str
    model: str
    batch_items: int
    include: Sequence[str]
    exclude: Sequence[str]
    max_failure_rate: float
    restart: bool
    keep_missing: bool
    max_delete_share: float | None
    retry_failed: bool
    new_generation: bool
    dry_run: bool
    as_json: bool
