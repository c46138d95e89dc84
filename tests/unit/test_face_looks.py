"""Where a detector looks, and which of the faces that it sees there are kept."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.models.faces.alignment import ARCFACE
from pipeline.adapters.models.faces.detections import Detections, largest_first, suppress
from pipeline.adapters.models.faces.face_file import AlignerSettings, FinderSettings
from pipeline.adapters.models.faces.finder import FaceFinder
from pipeline.adapters.models.faces.looks import MAX_TILES, SEEN_PX, make_small, plan_looks
from pipeline.types import Pixels

SIDE_PX = 160
SIDES = st.integers(1, 20_000)


@given(width=SIDES, height=SIDES, side_px=st.integers(32, 2048), min_face_px=st.integers(8, 400))
def test_looks_are_bounded_and_their_tiles_cover_the_picture(
    width: int, height: int, side_px: int, min_face_px: int
) -> None:
    looks = list(plan_looks(width, height, side_px=side_px, min_face_px=min_face_px))
    assert len(looks) in (1, 2)
    assert max(looks[0].width, looks[0].height) <= side_px, "first the whole"
    for look in looks:
        assert 1 <= len(look.tiles) <= MAX_TILES
        for tile in look.tiles:
            assert 0 <= tile.left < tile.right <= look.width
            assert 0 <= tile.top < tile.bottom <= look.height
            assert max(tile.right - tile.left, tile.bottom - tile.top) <= side_px
        for first, last, most in (("left", "right", look.width), ("top", "bottom", look.height)):
            ends = sorted({(getattr(tile, first), getattr(tile, last)) for tile in look.tiles})
            assert (ends[0][0], ends[-1][1]) == (0, most)
            overlaps = [end - start for (_, end), (start, _) in pairwise(ends)]
            assert all(overlap >= 0.19 * side_px - 1 for overlap in overlaps), "no face lies between two"


@pytest.mark.parametrize(
    ("size", "looks"), [((200, 250), 1), ((1280, 800), 1), ((1290, 800), 2), ((6000, 4000), 2)]
)
def test_tiles_are_for_pictures_whose_small_faces_the_first_look_misses(
    size: tuple[int, int], looks: int
) -> None:
    assert len(list(plan_looks(*size, side_px=640, min_face_px=40))) == looks


class SquareDetector:
    """Finds plain squares of pure colours that are at least as wide as a detector surely sees."""

    COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255))

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def look(self, rgb: Pixels) -> Callable[[], Detections]:
        found = self._find(rgb)
        return lambda: found

    def _find(self, rgb: Pixels) -> Detections:
        self.seen.append(rgb.shape)
        boxes = [box for colour in self.COLOURS if (box := _bounds(rgb, colour)) is not None]
        corners = np.array(boxes, np.float64).reshape(-1, 4)
        sides = (corners[:, 2:] - corners[:, :2])[:, None, :]
        return Detections(
            boxes=corners,
            points=corners[:, None, :2] + (ARCFACE + 0.5) / 112 * sides,
            scores=np.full(len(corners), 0.9),
        )


def _bounds(rgb: Pixels, colour: tuple[int, int, int]) -> tuple[float, float, float, float] | None:
    rows, columns = np.nonzero((np.abs(rgb.astype(int) - colour) < 60).all(axis=2))
    if not len(rows) or np.ptp(columns) + 1 < SEEN_PX - 1:
        return None
    low, high = (columns.min() - 0.5, rows.min() - 0.5), (columns.max() + 0.5, rows.max() + 0.5)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def finder_of(detector: SquareDetector, *, min_face_px: int = 40) -> FaceFinder:
    return FaceFinder(
        detector,
        FinderSettings(
            detector="yunet",
            side_px=SIDE_PX,
            min_score=0.6,
            max_overlap=0.3,
            max_faces=100,
            min_face_px=min_face_px,
        ),
        AlignerSettings(template="arcface", side_px=112),
    )


def squares(places: Sequence[tuple[int, int, int]], *, width: int, height: int) -> Pixels:
    """Args: `places`: left, top and side of each."""
    rgb = np.full((height, width, 3), 128, np.uint8)
    for (left, top, side), colour in zip(places, SquareDetector.COLOURS, strict=False):
        rgb[top : top + side, left : left + side] = colour
    return rgb


def test_small_and_large_faces_of_one_picture_are_found_each_once() -> None:
    """Among them some that tiles cut in two, and one that no tile holds."""
    places = [(60, 20, 360), (470, 10, 40), (700, 300, 44), (150, 500, 48), (448, 448, 40), (1, 590, 60)]
    detector = SquareDetector()
    views = finder_of(detector).find_views(squares(places, width=760, height=660))
    assert len(detector.seen) > 5, "tiles were looked at"
    found = sorted((v.box.left, v.box.top, v.box.width, v.box.height) for v in views if v.box)
    expected = sorted((left, top, side, side) for left, top, side in places)
    assert len(found) == len(places)
    assert np.abs(np.array(found) - np.array(expected)).max() <= 6, "a pixel of the copies"
    assert [v.box.width for v in views if v.box] == sorted((f[2] for f in found), reverse=True)


def test_crops_are_of_the_full_picture_and_not_of_the_copy_that_the_detector_saw() -> None:
    side, fine = 800, np.indices((800, 800)).sum(axis=0) // 4 % 2 * 255
    rgb = np.full((1000, 1000, 3), 128, np.uint8)
    rgb[100:900, 100:900] = (255, 0, 0)
    rgb[100:900, 100:900, 0] = np.maximum(fine, 200)  # stripes of 4 px, averaged in the copy
    detector = SquareDetector()
    [view] = finder_of(detector, min_face_px=400).find_views(rgb)
    assert all(max(shape) <= SIDE_PX for shape in detector.seen)
    assert view.box is not None
    assert abs(view.box.width - side) <= 14


def test_a_copy_is_of_averages() -> None:
    rgb = np.zeros((90, 60, 3), np.uint8)
    rgb[::2] = 200
    assert np.array_equal(make_small(rgb, 60, 90), rgb)
    assert np.abs(make_small(rgb, 20, 30).astype(int) - 100).max() <= 34, "rows of three: 67 and 133"
    assert np.abs(make_small(rgb, 30, 45).astype(int) - 100).max() <= 1
    assert make_small(rgb, 7, 11).shape == (11, 7, 3)


def detections(rows: Sequence[tuple[float, float, float, float, float]]) -> Detections:
    """Args: `rows`: left, top, right, bottom and score of each."""
    numbers = np.array(rows, np.float64).reshape(-1, 5)
    return Detections(boxes=numbers[:, :4], points=np.zeros((len(rows), 5, 2)), scores=numbers[:, 4])


def test_of_faces_that_overlap_the_best_is_kept() -> None:
    found = detections([(0, 0, 10, 10, 0.7), (1, 0, 11, 10, 0.9), (0, 8, 10, 18, 0.8), (50, 50, 60, 60, 0.6)])
    kept = suppress(found, max_overlap=0.3)
    assert kept.scores.tolist() == [0.9, 0.8, 0.6], "the third shares a tenth with the first"
    assert suppress(found, max_overlap=0.9).scores.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert len(suppress(detections([]), max_overlap=0.3)) == 0


BOXES = st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 20)] * 2, st.sampled_from([0.6, 0.7, 0.8]))


@given(st.lists(BOXES, max_size=12))
def test_the_order_in_which_faces_were_found_does_not_matter(rows: list[tuple[int, ...]]) -> None:
    made = sorted({(a, b, a + w, b + h, float(s)) for a, b, w, h, s in rows})
    forth, back = (suppress(detections(part), max_overlap=0.3) for part in (made, made[::-1]))
    assert {tuple(box) for box in forth.boxes} == {tuple(box) for box in back.boxes} or _has_ties(made)
    for kept in (forth, back):
        assert len(suppress(kept, max_overlap=0.3)) == len(kept), "what is kept is far enough apart"


def _has_ties(rows: Sequence[tuple[float, ...]]) -> bool:
    """Two that begin at one point with one score: either may be kept."""
    return len({(row[0], row[1], row[4]) for row in rows}) < len(rows)


def test_the_largest_come_first_and_are_kept() -> None:
    found = detections([(0, 0, 2, 2, 0.9), (0, 0, 9, 9, 0.6), (5, 0, 9, 4, 0.7), (0, 5, 4, 9, 0.8)])
    assert largest_first(found, most=3).scores.tolist() == [0.6, 0.7, 0.8], "then from the top"
