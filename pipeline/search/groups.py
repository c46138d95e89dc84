"""Hits of which several belong together: the best of each image, or persons by the mean of their faces."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.bounds import MAX_HITS
from pipeline.ports import PersonBook, VectorIndex
from pipeline.ports.image_rows import image_id_of_row
from pipeline.search.persons import is_still, read_vectors
from pipeline.search.ranking import to_score
from pipeline.types import CollectionRef, SearchHit, Vector

LEAST_DEPTH = 256  # hits that are looked at for the groups that are wanted
DEEPER = 4  # times as many, while there are too few groups among them
MORE_PERSONS = 20  # than are wanted: the best face and the mean of the faces rank persons differently
# A mean of faces is nearer to a probe than any of them: up to twice as near for faces of one person.
SHARE_OF_SCORE = 0.5

Nearest = Callable[[int, float | None], list[SearchHit]]
"""So many hits of one vector with at least this score."""


class GroupBy(StrEnum):
    NOTHING = ""
    IMAGE = "image"  # the best view of each image
    PERSON = "person"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranked:
    """The hits of one vector. `persons` says whose each is, where persons were searched for."""

    hits: tuple[SearchHit, ...] = ()
    persons: tuple[str, ...] = ()


def best_of_images(k: int, min_score: float | None, nearest: Nearest) -> Ranked:
    """The best view of each of the `k` nearest images."""
    for hits, is_all in _deeper(k, min_score, nearest):
        best: dict[str, SearchHit] = {}
        for hit in hits:
            best.setdefault(image_id_of_row(hit.id), hit)
        if is_all or len(best) >= k:
            break
    return Ranked(hits=tuple(best.values())[:k])


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonsNearby:
    """The persons who are nearest to a vector."""

    target: CollectionRef
    index: VectorIndex
    book: PersonBook

    def find(
        self, vector: Vector, k: int, min_score: float | None, nearest: Nearest, *, without: str = ""
    ) -> Ranked:
        """Each person once, by the score of the mean of their faces, with the face that is nearest.

        They are those of the nearest faces, of which MAX_HITS are looked at, at most.

        Args:
            without: the id of a person who is not wanted.
        """
        least = min_score * SHARE_OF_SCORE if min_score is not None and min_score > 0 else min_score
        wanted = k + MORE_PERSONS
        for hits, is_all in _deeper(k, least, nearest):
            best = self._best_faces(hits, without)
            if is_all or len(best) >= wanted:
                break
        scored = self._scored(vector, best, wanted)
        scored.sort(key=lambda each: (-each[0].score, each[1]))
        kept = [each for each in scored if min_score is None or each[0].score >= min_score][:k]
        return Ranked(hits=tuple(hit for hit, _ in kept), persons=tuple(person_id for _, person_id in kept))

    def _best_faces(self, hits: Sequence[SearchHit], without: str) -> dict[str, SearchHit]:
        held = self.book.owners(self.target.name, [hit.id for hit in hits])
        best: dict[str, SearchHit] = {}
        for hit in hits:
            person_id, face = held.get(hit.id, ("", None))
            if face is not None and person_id != without and is_still(face, hit):
                best.setdefault(person_id, hit)
        return best

    def _scored(self, vector: Vector, best: dict[str, SearchHit], wanted: int) -> list[tuple[SearchHit, str]]:
        vectors = read_vectors(list(best)[:wanted], self.target, self.index, self.book)
        return [
            (replace(best[person_id], score=to_score(float(mean @ vector))), person_id)
            for person_id, mean in vectors
        ]


def _deeper(k: int, min_score: float | None, nearest: Nearest) -> Iterator[tuple[list[SearchHit], bool]]:
    """More and more hits, and whether there are no others."""
    depth = min(MAX_HITS, max(LEAST_DEPTH, DEEPER * k))
    while True:
        hits = nearest(depth, min_score)
        is_all = len(hits) < depth or depth == MAX_HITS
        yield hits, is_all
        depth = min(MAX_HITS, DEEPER * depth)
