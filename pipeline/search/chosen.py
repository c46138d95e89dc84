"""Which faces of a picture a query means. The others are not embedded: a crowd costs what one face does."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pipeline.search.query import Picture
from pipeline.types import Face, FacePlace, ObjectRef, Prepared, Rejected, View, view_metadata

SeenFaces = tuple[tuple[FacePlace, Face], ...]  # the largest first


class FaceChoice:
    """Of one call. Args: `queries`: by the identity of the reference, as one image may be asked for twice."""

    def __init__(self, queries: Mapping[int, Picture]) -> None:
        self._queries = queries
        self._passed_over: dict[int, SeenFaces] = {}

    def through(self, outcomes: Iterable[Prepared | Rejected]) -> Iterator[Prepared | Rejected]:
        """The same pictures, with the faces that are meant. Those of whole images pass as they are."""
        for outcome in outcomes:
            yield outcome if isinstance(outcome, Rejected) else self._choose(outcome)

    def passed_over(self, ref: ObjectRef) -> SeenFaces:
        """The faces of a picture that are not meant."""
        return self._passed_over.get(id(ref), ())

    def _choose(self, picture: Prepared) -> Prepared:
        meant = _meant(picture.views, self._queries[id(picture.ref)])
        kept = {id(view) for view in meant}
        self._passed_over[id(picture.ref)] = tuple(
            (FacePlace(box=view.box, width=picture.width, height=picture.height), view.face)
            for view in picture.views
            if id(view) not in kept and view.box is not None and view.face is not None
        )
        return replace(picture, views=meant)


def _meant(views: tuple[View, ...], query: Picture) -> tuple[View, ...]:
    if not all(view.face for view in views):
        return views
    if query.box is not None:
        return _in_box(views, query)
    if query.counts is not None:
        views = tuple(view for view in views if query.counts(view_metadata(view)))
    return views[:1] if query.only_largest else views


def _in_box(views: tuple[View, ...], query: Picture) -> tuple[View, ...]:
    best = max(views, key=lambda view: _overlap(view, query), default=None)
    return (best,) if best is not None and _overlap(best, query) else ()


def _overlap(view: View, query: Picture) -> float:
    return view.box.overlap(query.box) if view.box and query.box else 0.0


def words_for_none(query: Picture) -> str:
    """Why a picture has no face that is meant."""
    if query.box is not None:
        box = query.box
        return f"no face lies in the box {box.left},{box.top},{box.width},{box.height} of this picture"
    if query.counts is not None:
        return "the model finds no face in this picture that is good enough"
    return "the model finds nothing in this picture"
