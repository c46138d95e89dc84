"""All ports of one process, and its limits."""

from dataclasses import dataclass

from pipeline.ports.embedder import Embedder
from pipeline.ports.index import VectorIndex
from pipeline.ports.ledger import Ledger
from pipeline.ports.store import ObjectStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Deps:
    """Everything `handle_embed` needs of the world. Built by `wiring`, or by a test from fakes."""

    store: ObjectStore
    index: VectorIndex
    embedder: Embedder
    ledger: Ledger
    staging_bucket: str = ""  # where blocks of pixels wait between the CPU tier and the GPU tier


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one image and one process may take. Values come from `Settings`."""

    max_object_bytes: int = 64 * 2**20
    max_px: int = 100_000_000  # a 100-megapixel camera; scaled decoding keeps it cheap
    decode_budget_bytes: int = 224 * 2**20  # with the body and the interpreter's own swings: under 300 MB
    min_side_px: int = 4  # tracking pixels hold no picture
    fetch_threads: int = 8
    decode_threads: int = 2
    group_items: int = 32  # images per forward pass
    jpeg_device: str = ""  # `cuda:N`, where ordinary JPEGs are decoded; none: on the CPU, like all others
