"""Images of a collection that look like copies of each other: each asks for its nearest neighbours.

Every image is searched for through the gate. So the policy of the collection holds, and the log has a record
of each.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from pipeline.errors import ArgumentError
from pipeline.names import MAIN_EMBEDDING, check_prefix, shown
from pipeline.ports import ImageLimits
from pipeline.ports.model_binding import find_collection
from pipeline.search.query import Stored
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.answers import hit_json
from pipeline.service.arguments import read_search
from pipeline.service.search import QUERIES_AT_ONCE, SearchPorts, search_images
from pipeline.types import CollectionInfo, IndexRow, Justification, SearchHit

COPIES = "copies"  # an embedding of this name is there for this question
# Of the edited copies in a set of 45 pictures, with 50,171 pairs of different ones: the builtin model scores
# 87 % of the pairs above this and no other pair, mobilenet_v2 39 % and none. At 0.85, the builtin model takes
# 22 pairs of different pictures for copies.
MIN_SCORE = 0.9
NEIGHBOURS = 50  # of each image. A group may be larger, as the copies of copies are in it


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicates:
    """Images that look alike. `kept` is the largest, or the oldest of equal ones. `copies` are the others.

    The score of a copy is its highest cosine with any other image of the group.
    """

    kept: SearchHit
    copies: tuple[SearchHit, ...]


def choose_embedding(info: CollectionInfo, wanted: str = "") -> str:
    """The one that is wanted, or else that of copies if there is one, or else the first."""
    return wanted or (COPIES if COPIES in info.beside else MAIN_EMBEDDING)


def find_duplicates(
    collection: str,
    ports: SearchPorts,
    limits: ImageLimits,
    caller: Caller,
    *,
    embedding: str,
    min_score: float = MIN_SCORE,
    key_prefix: str = "",
    justification: Justification | None = None,
    max_images: int | None = None,
) -> list[Duplicates]:
    """Groups in order of the bucket and key of the image that is kept.

    Args:
        embedding: by its name, see `choose_embedding`.
        key_prefix: only images whose key begins so are compared.
        max_images: that are compared at most, for somebody who waits. None is any number.

    Raises:
        ArgumentError: the collection is of faces, has no such embedding, or has more images than that.
        NotFoundError, DeniedError, PolicyError, AuditError: as a search.
    """
    require(caller, Permission.READ)  # all images are listed
    require_names(caller, collection=collection)
    info = find_collection(collection, ports.index)
    if info.has_views:
        raise ArgumentError(f"collection {shown(collection)} is of faces; duplicates are whole images")
    request = read_search(
        collection=collection,
        k=NEIGHBOURS + 1,  # an image is its own nearest
        min_score=min_score,
        prefix=check_prefix(key_prefix),
        embedding=embedding,
        justification=justification,
    )
    images = ports.index.list_images(info.ref)
    listed = (image.ref.image_id for image in images if image.ref.key.startswith(key_prefix))
    ids = iter(listed if max_images is None else _at_most(max_images, listed, collection))
    groups = _Groups()
    while chunk := [Stored(text=id_, id=id_) for id_ in islice(ids, QUERIES_AT_ONCE)]:
        answers = search_images(chunk, request, ports, limits, caller)
        for query, answer in zip(chunk, answers, strict=True):  # one that was deleted meanwhile has no hits
            groups.add(query.id, answer.hits)
    unseen = groups.unseen
    for start in range(0, len(unseen), QUERIES_AT_ONCE):
        for row in ports.index.get_rows(info.ref, unseen[start : start + QUERIES_AT_ONCE]):
            groups.note(_hit_of(row, groups.best[row.id]))
    return sorted(groups.all(), key=lambda group: (group.kept.bucket, group.kept.key))


def group_json(group: Duplicates) -> dict[str, object]:
    return {"kept": hit_json(group.kept), "copies": [hit_json(hit) for hit in group.copies]}


def _at_most(max_images: int, ids: Iterator[str], collection: str) -> Sequence[str]:
    found = list(islice(ids, max_images + 1))
    if len(found) > max_images:
        raise ArgumentError(
            f"collection {shown(collection)}: over {max_images} images are to be compared, and one request "
            f"compares at most {max_images}; compare a part of the keys with key_prefix"
        )
    return found


class _Groups:
    """Sets of images that are joined by pairs. Only images with a neighbour are in memory."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._hits: dict[str, SearchHit] = {}  # with the highest score of each
        self.best: dict[str, float] = {}  # score of each image that has a neighbour

    def add(self, image_id: str, hits: Sequence[SearchHit]) -> None:
        """Args: `hits` are the neighbours of the image, itself among them."""
        others = [hit for hit in hits if hit.id != image_id]
        for hit in others:
            self._parents[self._root(hit.id)] = self._root(image_id)
            self.note(hit)
        if others:
            best = self.best[image_id] = max(hit.score for hit in others)
            for hit in hits:
                if hit.id == image_id:
                    self.note(replace(hit, score=best))

    @property
    def unseen(self) -> list[str]:
        """Those that were no hit, not even their own: more images than were asked for are equal to them."""
        return [image_id for image_id in self.best if image_id not in self._hits]

    def all(self) -> Iterator[Duplicates]:
        members: dict[str, list[SearchHit]] = {}
        for hit in self._hits.values():
            members.setdefault(self._root(hit.id), []).append(hit)
        for group in members.values():
            kept, *copies = sorted(group, key=_worth)
            if copies:
                yield Duplicates(kept=kept, copies=tuple(_best_first(copies)))

    def note(self, hit: SearchHit) -> None:
        known = self._hits.get(hit.id)
        if known is None or known.score < hit.score:
            self._hits[hit.id] = hit

    def _root(self, image_id: str) -> str:
        root = image_id
        while (parent := self._parents.setdefault(root, root)) != root:
            self._parents[root] = self._parents[parent]  # halves the way for the next one
            root = parent
        return root


def _hit_of(row: IndexRow, score: float) -> SearchHit:
    return SearchHit(
        id=row.id,
        bucket=row.ref.bucket,
        key=row.ref.key,
        etag=row.ref.etag,
        score=score,
        width=row.width,
        height=row.height,
        size_bytes=row.ref.size_bytes,
        indexed_at=row.indexed_at,
        metadata=row.metadata,
    )


def _worth(hit: SearchHit) -> tuple[object, ...]:
    """The first in this order is kept: most pixels, then most bytes, then the oldest."""
    return (-hit.width * hit.height, -hit.size_bytes, hit.indexed_at, hit.bucket, hit.key)


def _best_first(hits: Iterable[SearchHit]) -> list[SearchHit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.bucket, hit.key))
