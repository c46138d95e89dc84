"""What the search page shows of hits beside their pictures."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.api.backend import Backend
from pipeline.evaluation.scale import Scale
from pipeline.search.persons import owners_of
from pipeline.service.search import SearchAnswer
from pipeline.types import FacePlace, IndexRow, SearchHit, place_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    scale: Scale | None  # where similarities mean something
    owners: Mapping[str, str] = field(default_factory=dict)  # whose face a row is, by its id

    def face(self, hit: SearchHit | IndexRow) -> FacePlace | None:
        return place_of(hit.metadata, width=hit.width, height=hit.height)

    def similarity(self, score: float) -> float | None:
        return self.scale.similarity_of(score) if self.scale else None


def answers_of(found: SearchAnswer | None) -> list[SearchAnswer]:
    """One for each face of the example that was looked for."""
    return [found, *found.other_faces] if found else []


def looks_of(found: SearchAnswer | None, ports: Backend) -> Looks:
    if found is None or found.target is None:
        return Looks(scale=None)
    scale = ports.answers_to.scale_of(found.target)
    hits = {hit.id: hit for answer in answers_of(found) for hit in answer.hits}
    faces = [hit for hit in hits.values() if place_of(hit.metadata, width=hit.width, height=hit.height)]
    return Looks(
        scale=scale if scale.calibration else None,
        owners=owners_of(faces, found.target, ports.persons) if faces else {},
    )
