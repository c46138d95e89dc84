"""The ports and threads of one process, and the bounds of one image."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.ports.embedder import ImageEmbedder, TextEmbedder, ViewFinder, warm_model
from pipeline.ports.index import VectorIndex
from pipeline.ports.ledger import Ledger
from pipeline.ports.policies import PolicyBook
from pipeline.ports.store import ObjectStore


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLimits:
    """The bounds of one image. Values come from `Settings`."""

    max_object_bytes: int = 64 * 2**20
    max_px: int = 100_000_000  # a 100-megapixel camera; scaled decoding keeps it cheap
    decode_budget_bytes: int = 224 * 2**20  # with the body and the interpreter's own swings: under 300 MB
    min_side_px: int = 4  # tracking pixels hold no picture
    decode_deadline_s: float = 60.0  # of one image and one core; the work that is allowed takes about 10


Limits = ImageLimits  # the name that scripts outside of Pictor know


@dataclass(frozen=True, kw_only=True, slots=True)
class Concurrency:
    """How much one process does at once, and where. Values come from `Settings`."""

    fetch_threads: int = 8
    decode_threads: int = 2
    group_items: int = 32  # images per forward pass
    jpeg_device: str = ""  # `cuda:N` decodes ordinary JPEGs; empty: the decode threads do, as with all others
    works_ahead: bool = True  # False: a batch's own thread reads and decodes, group by group


@dataclass(frozen=True, kw_only=True, slots=True)
class Deps:
    """Everything `handle_embed` needs of the world. Built by `wiring`, or by a test from fakes."""

    store: ObjectStore
    index: VectorIndex
    embedder: ImageEmbedder  # of the first embedding of an image
    ledger: Ledger
    staging_bucket: str = ""  # where blocks of pixels wait between the CPU tier and the GPU tier; "" inline
    driver: str = ""  # whose jobs this process does; "" when it is told of no others
    concurrency: Concurrency = field(default_factory=Concurrency)
    finder: ViewFinder | None = None  # of a model that looks at views
    texts: TextEmbedder | None = None  # of a model that reads text, where searches are answered
    beside: Mapping[str, ImageEmbedder] = field(default_factory=dict)  # of `embedder.spec.beside`, by name
    texts_beside: Mapping[str, TextEmbedder] = field(default_factory=dict)  # of those that read text, by name
    policies: PolicyBook | None = None  # without them, no collection of faces can be made


def warm_models(deps: Deps) -> None:
    """Load the weights of all and run each once. See `warm_model`."""
    for embedder in (deps.embedder, *deps.beside.values()):
        warm_model(embedder)
