"""The pipeline's view of the world. Few methods, no SDK type in a signature, one contract test each.

Every method may raise `TransientError` (the service is away: retry) and `CredentialsError` (refused).
"""

from pipeline.bounds import MAX_HITS
from pipeline.ports.audit import AuditLog
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
    VectorIndex,
)
from pipeline.ports.keys import (
    KeyBook,
)
from pipeline.ports.ledger import (
    Ledger,
    PrunedLedger,
    WatchedLedger,
)
from pipeline.ports.persons import (
    PersonBook,
)
from pipeline.ports.policies import (
    PolicyBook,
)
from pipeline.ports.requests import (
    RequestBook,
)
from pipeline.ports.row_texts import (
    MAX_ETAG_BYTES,
    MAX_METADATA_BYTES,
    MAX_PATH_BYTES,
    is_storable,
    misfit_of,
)
from pipeline.ports.store import (
    AgedStore,
    ObjectReader,
    ObjectStore,
)
from pipeline.ports.verifications import (
    VerificationBook,
)
from pipeline.ports.versions import (
    NO_FINDINGS,
    VersionBook,
)

__all__ = [
    "MAX_ETAG_BYTES",
    "MAX_HITS",
    "MAX_METADATA_BYTES",
    "MAX_PATH_BYTES",
    "NO_FINDINGS",
    "AgedStore",
    "AuditLog",
    "Concurrency",
    "Deps",
    "ImageEmbedder",
    "ImageLimits",
    "KeyBook",
    "Ledger",
    "Limits",
    "ObjectReader",
    "ObjectStore",
    "PersonBook",
    "PolicyBook",
    "PrunedLedger",
    "RequestBook",
    "TextEmbedder",
    "VectorIndex",
    "VerificationBook",
    "VersionBook",
    "ViewFinder",
    "WatchedLedger",
    "is_storable",
    "misfit_of",
]
