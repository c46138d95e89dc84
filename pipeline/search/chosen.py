"""Which faces of a picture a query means. The others are not embedded: a crowd costs what one face does."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pipeline.search.query import Picture
from pipeline.types import Prepared, Rejected, View, view_metadata


def choose_faces(
    outcomes: Iterable[Prepared | Rejected], queries: Mapping[int, Picture]
) -> Iterator[Prepared | Rejected]:
    """The same pictures, with the faces that are meant. Those of whole images pass as they are.

    Args:
        queries: by the identity of the reference, since one image may be asked for twice.
    """
    for outcome in outcomes:
        if isinstance(outcome, Rejected):
            yield outcome
        else:
            yield replace(outcome, views=_meant(outcome.views, queries[id(outcome.ref)]))


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
