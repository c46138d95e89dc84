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
from pipeline.ports.embedder import never_late
from pipeline.types import Box, Face, Pixels, View

MIN_SIDE_PX = 1000  # a picture keeps four times as many px of the shorter side where memory allows it
EDGE_PX = 2  # so near to the inner side of a tile, a face is taken to be cut


class Detector(Protocol):
    def detect(self, rgb: Pixels) -> Detections: ...


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
        found, views = self._find(rgb, check_time), []
        for number in range(len(found)):
            check_time()
            views.append(self._view(rgb, found, number))
        return [view for view in views if view is not None]

    def _find(self, rgb: Pixels, check_time: Callable[[], None]) -> Detections:
        height, width = rgb.shape[:2]
        looks = plan_looks(
            width, height, side_px=self.settings.side_px, min_face_px=self.settings.min_face_px
        )
        found = join([self._look(rgb, look, check_time) for look in looks])
        kept = suppress(found, max_overlap=self.settings.max_overlap, check_time=check_time)
        return largest_first(kept, most=self.settings.max_faces)

    def _look(self, rgb: Pixels, look: Look, check_time: Callable[[], None]) -> Detections:
        check_time()
        small = make_small(rgb, look.width, look.height)
        found = join([self._detect(small, tile, check_time) for tile in look.tiles])
        return found.moved(scale=rgb.shape[1] / look.width)

    def _detect(self, small: Pixels, tile: Tile, check_time: Callable[[], None]) -> Detections:
        check_time()
        found = self.detector.detect(small[tile.top : tile.bottom, tile.left : tile.right])
        return found.take(~_is_cut(found, tile)).moved(left=tile.left, top=tile.top)

    def _view(self, rgb: Pixels, found: Detections, number: int) -> View | None:
        points: Points = found.points[number]
        to_crop = fit_similarity(points, self._template)
        if to_crop is None:
            return None
        crop = cut_face(rgb, to_crop, self._side_px)
        return View(
            pixels=crop,
            box=_box(found.boxes[number], rgb),
            face=_face(points, crop, float(found.scores[number])),
        )


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
