"""An index that answers searches and lookups of many threads in fewer calls. See `gathering`."""

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from pipeline.ports import VectorIndex
from pipeline.search.gathering import AT_ONCE, MOST_WAIT_S, Gathering
from pipeline.types import CollectionRef, IndexRow, SearchFilter, SearchHit

SEARCH, LOOKUP = "search", "lookup"
CALLS = (SEARCH, LOOKUP)

MOST_VECTORS = 64  # of one call, and rows of a lookup: some hundred KB
MOST_HITS = 1_000  # of one call: each takes the interpreter 20 µs, and all wait for the last
MOST_OF_ONE = 8  # vectors, or rows. Who asks about more has gathered them already


class GatheredIndex:
    """Implements `ports.VectorIndex` over another one. Safe to share between threads.

    Searches go together that are equal but for their vectors, and lookups in one generation that may lag.
    All else goes through as it is, and so does a large question: nobody is to wait for it.

    Args:
        at_once, most_wait_s: see `Gathering`.
        told: one of `CALLS`, and how many questions it holds.
    """

    def __init__(
        self,
        index: VectorIndex,
        *,
        at_once: int = AT_ONCE,
        most_wait_s: float = MOST_WAIT_S,
        told: Callable[[str, int], None] = lambda _call, _questions: None,
    ) -> None:
        self._index = index
        self._searches: Gathering[NDArray[np.float32], list[list[SearchHit]]] = Gathering(
            at_once=at_once, most_wait_s=most_wait_s, told=partial(told, SEARCH)
        )
        self._lookups: Gathering[Sequence[str], list[IndexRow]] = Gathering(
            at_once=at_once, most_wait_s=most_wait_s, told=partial(told, LOOKUP)
        )
        self.create_collection = index.create_collection
        self.open_generation = index.open_generation
        self.promote = index.promote
        self.drop_generation = index.drop_generation
        self.drop_collection = index.drop_collection
        self.live = index.live
        self.get_collection = index.get_collection
        self.get_generation = index.get_generation
        self.list_collections = index.list_collections
        self.list_generations = index.list_generations
        self.check_generation = index.check_generation
        self.model_of = index.model_of
        self.replace_images = index.replace_images
        self.delete_images = index.delete_images
        self.get_versions = index.get_versions
        self.get_images = index.get_images
        self.list_images = index.list_images
        self.flush = index.flush

    @property
    def waiting(self) -> int:
        """Questions that are in no call yet."""
        return self._searches.waiting + self._lookups.waiting

    def search(
        self,
        ref: CollectionRef,
        vectors: NDArray[np.float32],
        *,
        k: int,
        where: SearchFilter | None = None,
        min_score: float | None = None,
        embedding: str = "",
    ) -> list[list[SearchHit]]:
        search = partial(self._index.search, ref, k=k, where=where, min_score=min_score, embedding=embedding)
        most = min(MOST_VECTORS, MOST_HITS // max(k, 1))
        if vectors.ndim != 2 or not 0 < len(vectors) <= min(MOST_OF_ONE, most // 2):
            return search(vectors)

        def together(several: Sequence[NDArray[np.float32]]) -> list[list[list[SearchHit]]]:
            found = iter(search(np.concatenate(several) if len(several) > 1 else several[0]))
            return [list(islice(found, len(of_one))) for of_one in several]

        # Vectors of another length than the collection's are refused by themselves.
        kind = (ref, vectors.shape[1], vectors.dtype, k, _kind_of(where), min_score, embedding)
        return self._searches.ask(kind, vectors, together, size=len(vectors), most=most)

    def get_rows(
        self, ref: CollectionRef, ids: Sequence[str], *, latest: bool = True, embedding: str = ""
    ) -> list[IndexRow]:
        look_up = partial(self._index.get_rows, ref, latest=latest, embedding=embedding)
        if latest or not 0 < len(ids) <= MOST_OF_ONE:  # the latest rows are waited for, and cost no core
            return look_up(ids)

        def together(several: Sequence[Sequence[str]]) -> list[list[IndexRow]]:
            if len(several) == 1:
                return [look_up(several[0])]
            rows = {row.id: row for row in look_up(list(dict.fromkeys(chain.from_iterable(several))))}
            return [[rows[id_] for id_ in of_one if id_ in rows] for of_one in several]

        return self._lookups.ask((ref, embedding), ids, together, size=len(ids), most=MOST_VECTORS)


def _kind_of(where: SearchFilter | None) -> Hashable:
    """Equal for filters that hold for the same rows, as far as that shows without a look at rows."""
    if where is None:
        return None
    return where.key_prefix, where.bucket, frozenset(where.metadata.items()), where.condition
