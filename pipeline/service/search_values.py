"""What is asked of a search, on which terms it is allowed, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pipeline.search.chosen import SeenFaces
from pipeline.search.groups import GroupBy
from pipeline.service.access import Caller
from pipeline.types import (
    AuditReceipt,
    CaseClock,
    CollectionPolicy,
    CollectionRef,
    FacePlace,
    Justification,
    PolicyVersion,
    SearchFilter,
    SearchHit,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRequest:
    collection: str
    k: int = 10
    min_score: float | None = None
    where: SearchFilter = field(default_factory=SearchFilter)
    with_vector: bool = False  # of each hit
    group_by: GroupBy = GroupBy.NOTHING
    embedding: str = ""  # of each image, by its name; "" is the first
    justification: Justification = field(default_factory=Justification)


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """An allowed search. `request` has the floor of the policy in it, and `clock` is that of its case.

    `floor` is the similarity of the policy as a cosine of the collection's model. `calibration` is the
    version of the calibration that says so.
    """

    request: SearchRequest
    caller: Caller
    started_at: datetime
    version: PolicyVersion | None = None
    clock: CaseClock | None = None
    floor: float | None = None
    calibration: str = ""

    @property
    def policy(self) -> CollectionPolicy | None:
        return self.version.policy if self.version else None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchAnswer:
    """`error` is empty, or says why this query has no hits: "not_an_image: …". `code` is its first word.

    `location` is the bucket and key of the query's picture, where there is one.
    `target` is the generation that was searched, and `embedding` says by which embedding; "" is the first.
    `seconds` are those of all queries answered at once.
    `receipt` is None where recording is off.
    `to_verify` is how many persons must look at each hit before it counts.
    `persons` says whose each hit is, where persons were searched for. Its score is then that of the person.
    `face` is where the face is that was searched for, in the query's picture, and `face_metadata` is what is
    known of it. Each further face of the picture that is meant has an answer of its own among `other_faces`,
    and `passed_over` are those that are not meant.
    """

    query: str
    target: CollectionRef | None = None
    embedding: str = ""
    seconds: Mapping[Literal["embed", "search"], float] = field(default_factory=dict)
    location: tuple[str, str] | None = None
    hits: tuple[SearchHit, ...] = ()
    persons: tuple[str, ...] = ()
    error: str = ""
    code: str = ""
    receipt: AuditReceipt | None = None
    to_verify: int = 0
    face: FacePlace | None = None
    face_metadata: Mapping[str, str] = field(default_factory=dict)
    other_faces: tuple["SearchAnswer", ...] = ()
    passed_over: SeenFaces = ()

    @property
    def detail(self) -> str:
        """The error without its code."""
        return self.error.removeprefix(f"{self.code}: ")
