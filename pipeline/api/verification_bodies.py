"""The bodies of verification by persons."""

from typing import Annotated

from pydantic import BaseModel, Field

from pipeline.api.bodies import Strict
from pipeline.service.verifications import MAX_REASON_CHARS
from pipeline.types import MatchDecision, MatchState


class MatchBody(BaseModel):
    """A hit of a search that persons verify. Only `confirmed` ones count."""

    id: Annotated[str, Field(description="The receipt of the search, and the rank of the hit")]
    receipt: str
    rank: int
    image_id: str
    score: float
    collection: str
    state: MatchState
    closed: Annotated[bool, Field(description="No person may decide any more")]
    persons_needed: Annotated[int, Field(description="Who say the same, of one more than these at most")]
    searched_at: str


class Matches(BaseModel):
    verifications: list[MatchBody]
    next_token: str | None


class DecisionBody(BaseModel):
    person: str
    decision: MatchDecision
    reason: str
    at: str
    receipt: Annotated[str, Field(description="The record of the decision, in the log")]


class ShownMatchBody(MatchBody):
    """`own` is what you decided. What the others decided is there once the match is closed."""

    purpose: str
    case: str
    probe_sha256: str
    probe_source: Annotated[str, Field(description="`upload`, `vector` or the id of an image")]
    own: DecisionBody | None
    decisions: list[DecisionBody]


class NewDecision(Strict):
    decision: MatchDecision
    reason: Annotated[
        str, Field(min_length=1, max_length=MAX_REASON_CHARS, examples=["The same scar over the left eye"])
    ]


class SearchState(BaseModel):
    receipt: str
    collection: str
    matches: list[MatchBody]
