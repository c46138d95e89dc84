"""Images of a collection that look like copies of each other."""

from fastapi import APIRouter

from pipeline.api.backend import Asks, Ports
from pipeline.api.duplicate_bodies import DuplicatesBody, FoundDuplicates
from pipeline.api.stated import StatedInHeaders, justification_of
from pipeline.ports.model_binding import find_collection
from pipeline.service import duplicates
from pipeline.service.access import Permission, require
from pipeline.service.duplicates import choose_embedding, group_json

MOST_COMPARED = 10_000  # images of one request: 5 s of searches on two cores

router = APIRouter(prefix="/v1/collections", tags=["search"])


@router.post("/{collection}/duplicates", response_model_exclude_none=True)
def find_duplicates(
    collection: str, body: DuplicatesBody, ports: Ports, caller: Asks, stated: StatedInHeaders
) -> FoundDuplicates:
    """Groups of images that look like copies of each other. Nothing is deleted.

    Each image is searched for, and has an entry of its own in the log. One request compares at most 10,000.
    """
    require(caller, Permission.SEARCH)
    embedding = choose_embedding(find_collection(collection, ports.index), body.embedding)
    found = duplicates.find_duplicates(  # it takes seconds, and has no right of way before jobs
        collection,
        ports.search_ports(),
        ports.limits,
        caller,
        embedding=embedding,
        min_score=body.min_score,
        key_prefix=body.key_prefix,
        justification=justification_of(stated, body.justification),
        max_images=MOST_COMPARED,
    )
    return FoundDuplicates.model_validate({"embedding": embedding, "groups": [*map(group_json, found)]})
