"""Finds the faces of a picture and cuts them out. See `ports.ViewFinder`."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.models.faces.alignment import Points, cut_face, fit_similarity, template_of
from pipeline.adapters.models.faces.detections import Detections, join, largest_first, suppress
from pipeline.adapters.models.faces.face_file import AlignerSettings, FinderSettings
from pipeline.adapters.models.faces.looks import Look, Tile, make_small, plan_looks
from pipeline.adapters.models.faces.quality import pose_of
from pipeline.image.quality import brightness, grey_of, sharpness
from pipeline.ports.embedder import Finding, finish, never_late
from pipeline.types import Box, Face, Pixels, View

MIN_SIDE_PX = 1000  # a picture keeps four times as many px of the shorter side where memory allows it
EDGE_PX = 2  # so near to the inner side of a tile, a face is taken to be cut


class Detector(Protocol):
    def look(self, rgb: Pixels) -> Callable[[], Detections]:
        """Ask the network. The function that is returned reads its answer."""
        ...


class FaceFinder:
    """Safe to share between threads, as its detector is."""

    min_side_px = MIN_SIDE_PX

    def __init__(self, detector: Detector, finder: FinderSettings, aligner: AlignerSettings) -> None:
        self.detector = detector
        self.settings = finder
        self._side_px = aligner.side_px
        self._template = template_of(aligner.side_px)

    def find_views(self, rgb: Pixels, *, check_time: Callable[[], None] = never_late) -> Sequence[View]:
        """The largest face first. One whose points are in one place cannot be aligned and is left out."""
        return finish(self.find_in_steps(rgb, check_time=check_time))

    def find_in_steps(self, rgb: Pixels, *, check_time: Callable[[], None] = never_late) -> Finding:
        """See `ports.SteppingFinder`: the network, its answer, the crops, and what is known of each face."""
        height, width = rgb.shape[:2]
        looks = plan_looks(
            width, height, side_px=self.settings.side_px, min_face_px=self.settings.min_face_px
        )
        answers = [self._look(rgb, look, check_time) for look in looks]
        yield
        found = self._choose(join([read() for read in answers]), check_time)
        yield
        crops = [self._cut(rgb, points, check_time) for points in found.points]
        yield
        return [
            View(
                pixels=crop,
                box=_box(found.boxes[number], rgb),
                face=_face(found.points[number], crop, float(found.scores[number])),
            )
            for number, crop in enumerate(crops)
            if crop is not None
        ]

    def _look(self, rgb: Pixels, look: Look, check_time: Callable[[], None]) -> Callable[[], Detections]:
        check_time()
        small = make_small(rgb, look.width, look.height)
        scale = rgb.shape[1] / look.width
        if len(look.tiles) == 1:
            read = self._ask(small, look.tiles[0], check_time)
            return lambda: read().moved(scale=scale)
        # Answers of many tiles would take megabytes until they are read.
        found = join([self._ask(small, tile, check_time)() for tile in look.tiles]).moved(scale=scale)
        return lambda: found

    def _ask(self, small: Pixels, tile: Tile, check_time: Callable[[], None]) -> Callable[[], Detections]:
        check_time()
        read = self.detector.look(small[tile.top : tile.bottom, tile.left : tile.right])

        def within() -> Detections:
            found = read()
            return found.take(~_is_cut(found, tile)).moved(left=tile.left, top=tile.top)

        return within

    def _choose(self, found: Detections, check_time: Callable[[], None]) -> Detections:
        kept = suppress(found, max_overlap=self.settings.max_overlap, check_time=check_time)
        return largest_first(kept, most=self.settings.max_faces)

    def _cut(self, rgb: Pixels, points: Points, check_time: Callable[[], None]) -> Pixels | None:
        check_time()
        to_crop = fit_similarity(points, self._template)
        return None if to_crop is None else cut_face(rgb, to_crop, self._side_px)


def _is_cut(found: Detections, tile: Tile) -> NDArray[np.bool_]:
    """Faces at a side of the tile that lies inside of the picture. Another tile has them whole."""
    width, height = tile.right - tile.left, tile.bottom - tile.top
    low, high = found.boxes[:, :2] <= EDGE_PX, found.boxes[:, 2:] >= np.array([width, height]) - EDGE_PX
    return np.asarray((np.concatenate([low, high], axis=1) & np.array(tile.inner)).any(axis=1))


def _box(sides: NDArray[np.float64], rgb: Pixels) -> Box:
    """Whole px, and within the picture."""
    height, width = rgb.shape[:2]
    left, right = (int(value) for value in np.clip(np.round(sides[[0, 2]] + 0.5), 0, width))
    top, bottom = (int(value) for value in np.clip(np.round(sides[[1, 3]] + 0.5), 0, height))
    return Box(left=left, top=top, width=right - left, height=bottom - top)


def _face(points: Points, crop: Pixels, confidence: float) -> Face:
    first, second, third, fourth, fifth = ((float(x), float(y)) for x, y in points)
    pose, grey = pose_of(points), grey_of(crop)
    return Face(
        points=(first, second, third, fourth, fifth),
        confidence=confidence,
        sharpness=sharpness(grey),
        brightness=brightness(grey),
        yaw=pose.yaw,
        pitch=pose.pitch,
        roll=pose.roll,
    )
