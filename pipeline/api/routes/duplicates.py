"""Images of a collection that look like copies of each other."""

from fastapi import APIRouter

from pipeline.api.backend import Asks, Ports
from pipeline.api.duplicate_bodies import DuplicatesBody, FoundDuplicates
from pipeline.api.stated import StatedInHeaders
from pipeline.service.arguments import read_justification
from pipeline.service.duplicates import group_json

router = APIRouter(prefix="/v1/collections", tags=["search"])


@router.post("/{collection}/duplicates", response_model_exclude_none=True)
def find_duplicates(
    collection: str, body: DuplicatesBody, ports: Ports, caller: Asks, stated: StatedInHeaders
) -> FoundDuplicates:
    """Groups of images that look like copies of each other. Nothing is deleted.

    Each image is searched for, and has an entry of its own in the log. One request compares at most 10,000.
    """
    said = stated.model_dump() | body.justification.model_dump(exclude_defaults=True)
    embedding, found = ports.find_duplicates(
        collection,
        caller,
        embedding=body.embedding,
        min_score=body.min_score,
        key_prefix=body.key_prefix,
        justification=read_justification(**said),
    )
    return FoundDuplicates.model_validate({"embedding": embedding, "groups": [*map(group_json, found)]})
