"""The pipeline's view of the world. Few methods, no SDK type in a signature, one contract test each.

Every method may raise `TransientError` (the service is away: retry) and `CredentialsError` (refused).
"""

from pipeline.ports.deps import (
    Concurrency,
    Deps,
    ImageLimits,
    Limits,
)
from pipeline.ports.embedder import (
    ImageEmbedder,
    TextEmbedder,
    ViewFinder,
)
from pipeline.ports.index import (
    MAX_HITS,
    MAX_METADATA_BYTES,
    VectorIndex,
)
from pipeline.ports.ledger import (
    Ledger,
    WatchedLedger,
)
from pipeline.ports.store import (
    AgedStore,
    ObjectStore,
)
from pipeline.ports.versions import (
    NO_FINDINGS,
    VersionBook,
)

__all__ = [
    "MAX_HITS",
    "MAX_METADATA_BYTES",
    "NO_FINDINGS",
    "AgedStore",
    "Concurrency",
    "Deps",
    "ImageEmbedder",
    "ImageLimits",
    "Ledger",
    "Limits",
    "ObjectStore",
    "TextEmbedder",
    "VectorIndex",
    "VersionBook",
    "ViewFinder",
    "WatchedLedger",
]
