"""Searches pictures for what a model looks at: one alone, or a few together, step by step."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from pipeline.errors import ImageError
from pipeline.image.decode import DecodedImage, decode_stored_colours
from pipeline.image.decode.work import Deadline
from pipeline.ingest.same_faces import face_of_key
from pipeline.ports import ImageLimits, ViewFinder
from pipeline.ports.embedder import find_in_steps
from pipeline.ports.image_rows import MAX_VIEWS
from pipeline.types import (
    Box,
    FailedAt,
    FetchedObject,
    ObjectRef,
    Prepared,
    Rejected,
    View,
    split_metadata,
)

# A few portraits, or one photograph: more of them are not faster.
TOGETHER_BYTES = 4 * 2**20  # of decoded pixels
# Each may have MAX_VIEWS crops. All of them take less than the largest image does while it is decoded.
TOGETHER_IMAGES = 32


class ViewSearch:
    """One image that is searched for views. To make one decodes the image, and `step` does the rest.

    Args:
        now: the clock of the deadline, seconds. One deadline covers decoding and finding.

    Raises:
        ImageError: the bytes, or what is in them; so does `step`.
    """

    def __init__(
        self,
        ref: ObjectRef,
        fetched: FetchedObject,
        finder: ViewFinder,
        limits: ImageLimits,
        *,
        now: Callable[[], float] = time.thread_time,
    ) -> None:
        self.ref = ref
        self.deadline = Deadline(limits.decode_deadline_s, now=now, late="not searched for faces")
        self._metadata = fetched.metadata
        self._image = decode_stored_colours(
            fetched.body, limits=limits, target_px=finder.min_side_px, now=now
        )
        self._finding = find_in_steps(finder, self._image.rgb, check_time=self.deadline.check_time)

    @property
    def size_bytes(self) -> int:
        return self._image.rgb.nbytes

    def step(self) -> Prepared | None:
        """Go on. None until it is done."""
        try:
            next(self._finding)
        except StopIteration as end:
            self.deadline.check_time()
            return self._prepared(end.value[:MAX_VIEWS])
        return None

    def close(self) -> None:
        """Let go of the pixels: the next image may need the room."""
        del self._finding, self._image

    def _prepared(self, found: Sequence[View]) -> Prepared:
        image = self._image
        views = face_of_key([_in_original(view, image) for view in found], self.ref.key)
        return Prepared(
            ref=self.ref,
            views=tuple(views),
            width=image.width,
            height=image.height,
            metadata=split_metadata(self._metadata)[0],  # those names belong to what is said of views
        )


def find_views(
    ref: ObjectRef,
    fetched: FetchedObject,
    finder: ViewFinder,
    limits: ImageLimits,
    *,
    now: Callable[[], float] = time.thread_time,
) -> Prepared:
    """Turn bytes into the input of a model that looks at parts of an image. See `ViewSearch`."""
    search = ViewSearch(ref, fetched, finder, limits, now=now)
    while (prepared := search.step()) is None:
        pass
    return prepared


def search_together(
    searches: Iterable[ViewSearch | Rejected], hold: Callable[[], AbstractContextManager[object]]
) -> Generator[Prepared | Rejected]:
    """One outcome for each, in order. A few images take a step before any of them takes the next.

    Args:
        searches: asked for the next one, it decodes an image. Its deadline stands still while others work.
        hold: entered for the steps of a few images, and left before the consumer gets an outcome.
    """
    for few in _by_few(searches):
        with hold():
            outcomes = _finish(few)
        yield from outcomes


def _by_few(searches: Iterable[ViewSearch | Rejected]) -> Iterator[list[ViewSearch | Rejected]]:
    few: list[ViewSearch | Rejected] = []
    size_bytes = 0
    for search in searches:
        few.append(search)
        if isinstance(search, ViewSearch):
            search.deadline.pause()
            size_bytes += search.size_bytes
        if size_bytes >= TOGETHER_BYTES or len(few) == TOGETHER_IMAGES:
            yield few
            few, size_bytes = [], 0
    if few:
        yield few


def _finish(few: Sequence[ViewSearch | Rejected]) -> Sequence[Prepared | Rejected]:
    done: dict[int, Prepared | Rejected] = {}  # by place
    while len(done) < len(few):
        for place, search in enumerate(few):
            if place not in done and (outcome := _step(search)) is not None:
                done[place] = outcome
    return [done[place] for place in range(len(few))]


def _step(search: ViewSearch | Rejected) -> Prepared | Rejected | None:
    if isinstance(search, Rejected):
        return search
    search.deadline.resume()
    try:
        outcome: Prepared | Rejected | None = search.step()
    except ImageError as err:
        outcome = Rejected(ref=search.ref, stage=FailedAt.DECODE, reason=err.reason, detail=err.detail)
    search.deadline.pause()
    if outcome is not None:
        search.close()
    return outcome


def _in_original(view: View, image: DecodedImage) -> View:
    """With its place in the upright original, and in the colours that the model knows."""
    pixels = view.pixels if image.conversion is None else image.conversion.convert_planes(view.pixels)
    if view.box is None:
        return View(pixels=pixels)
    height, width = image.rgb.shape[:2]
    x, y = image.width / width, image.height / height
    box = Box(
        left=round(view.box.left * x),
        top=round(view.box.top * y),
        width=round(view.box.width * x),
        height=round(view.box.height * y),
    )
    return View(pixels=pixels, box=box, face=view.face and view.face.scaled(x, y))
