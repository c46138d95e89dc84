"""What the service answers, as values."""

from pipeline.client.results.answer_object import AnswerObject, read_all, reader_of
from pipeline.client.results.audit import AuditEntry, Finding, Match, Review, SearchState, ShownMatch
from pipeline.client.results.collections import (
    CaseState,
    Collection,
    CollectionEmbedding,
    Generation,
    Int8Recall,
    PolicyVersion,
)
from pipeline.client.results.faces import (
    Comparison,
    FaceMatch,
    FacesChanged,
    FoundFace,
    FoundFaces,
    Person,
    RefusedFace,
)
from pipeline.client.results.jobs import OVER, AcceptedImage, Estimate, Failure, Job, Retried
from pipeline.client.results.keys import Key, NewSecret
from pipeline.client.results.searches import (
    Answer,
    DuplicateGroup,
    Embedding,
    FoundDuplicates,
    Hit,
    Image,
    SearchResult,
)

__all__ = [
    "OVER",
    "AcceptedImage",
    "Answer",
    "AnswerObject",
    "AuditEntry",
    "CaseState",
    "Collection",
    "CollectionEmbedding",
    "Comparison",
    "DuplicateGroup",
    "Embedding",
    "Estimate",
    "FaceMatch",
    "FacesChanged",
    "Failure",
    "Finding",
    "FoundDuplicates",
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
    "PolicyVersion",
    "RefusedFace",
    "Retried",
    "Review",
    "SearchResult",
    "SearchState",
    "ShownMatch",
    "read_all",
    "reader_of",
]
