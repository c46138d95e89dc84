"""The bodies of a look for duplicates on the wire."""

from typing import Annotated

from pydantic import BaseModel, Field

from pipeline.api.bodies import MAX_TEXT_CHARS, Stated, Strict
from pipeline.api.search_bodies import MAX_EMBEDDING_CHARS, Hit
from pipeline.service.duplicates import MIN_SCORE


class DuplicatesBody(Strict):
    justification: Stated = Stated()
    min_score: Annotated[
        float, Field(ge=-1, le=1, description="Cosine from which two images count as copies")
    ] = MIN_SCORE
    key_prefix: Annotated[
        str, Field(max_length=MAX_TEXT_CHARS, description="Only keys that begin with this")
    ] = ""
    embedding: Annotated[
        str,
        Field(
            max_length=MAX_EMBEDDING_CHARS,
            description="Which embedding is compared. By default `copies`, if there is one, or else `main`",
        ),
    ] = ""


class DuplicateGroup(BaseModel):
    """Images that look alike. A copy's score is its highest cosine with any other image of the group."""

    kept: Annotated[Hit, Field(description="The largest image, or the oldest of equal ones")]
    copies: list[Hit]


class FoundDuplicates(BaseModel):
    embedding: Annotated[str, Field(description="That was compared")]
    groups: Annotated[list[DuplicateGroup], Field(description="By bucket and key of the image that is kept")]
