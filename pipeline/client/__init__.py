"""A typed client of the HTTP API, in one form for waiting programs and one for asyncio.

    from pipeline.client import Pictor

It knows no torch, no Milvus and no web framework: `pip install 'pictor[client]'` is enough.
"""

from pipeline.client.aio import AsyncPictor
from pipeline.client.queries import Example, Query, StoredObject, StoredPerson, Words
from pipeline.client.results import (
    AcceptedImage,
    Answer,
    AuditEntry,
    CaseState,
    Collection,
    CollectionEmbedding,
    Comparison,
    Estimate,
    FaceMatch,
    FacesChanged,
    Failure,
    Finding,
    FoundFace,
    FoundFaces,
    Generation,
    Hit,
    Image,
    Int8Recall,
    Job,
    Key,
    Match,
    NewSecret,
    Person,
    PolicyVersion,
    RefusedFace,
    Retried,
    Review,
    SearchResult,
    SearchState,
    ShownMatch,
)
from pipeline.client.retries import Retries
from pipeline.client.sync import Pictor

__all__ = [
    "AcceptedImage",
    "Answer",
    "AsyncPictor",
    "AuditEntry",
    "CaseState",
    "Collection",
    "CollectionEmbedding",
    "Comparison",
    "Estimate",
    "Example",
    "FaceMatch",
    "FacesChanged",
    "Failure",
    "Finding",
    "FoundFace",
    "FoundFaces",
    "Generation",
    "Hit",
    "Image",
    "Int8Recall",
    "Job",
    "Key",
    "Match",
    "NewSecret",
    "Person",
    "Pictor",
    "PolicyVersion",
    "Query",
    "RefusedFace",
    "Retried",
    "Retries",
    "Review",
    "SearchResult",
    "SearchState",
    "ShownMatch",
    "StoredObject",
    "StoredPerson",
    "Words",
]
