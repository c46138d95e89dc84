"""Faces as a detector gives them, and which of two that overlap is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.ports.embedder import never_late


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Detections:
    """N faces, in px of the picture that was looked at. The centre of the first pixel is (0, 0)."""

    boxes: NDArray[np.float64]  # [N, 4]: left, top, right, bottom
    points: NDArray[np.float64]  # [N, 5, 2]
    scores: NDArray[np.float64]  # [N], 0..1

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> "Detections":
        return Detections(boxes=self.boxes[chosen], points=self.points[chosen], scores=self.scores[chosen])

    def moved(self, *, left: float = 0.0, top: float = 0.0, scale: float = 1.0) -> "Detections":
        """As in a picture `scale` times as large, of which the former is the part that begins there."""
        shift = np.array([left, top])
        points = _scaled(self.points + shift, scale)
        boxes = _scaled(self.boxes.reshape(-1, 2, 2) + shift, scale).reshape(-1, 4)
        return Detections(boxes=boxes, points=points, scores=self.scores)

    @property
    def areas(self) -> NDArray[np.float64]:
        sides = np.maximum(self.boxes[:, 2:] - self.boxes[:, :2], 0)
        return np.asarray(sides[:, 0] * sides[:, 1])


NO_FACE = Detections(boxes=np.empty((0, 4)), points=np.empty((0, 5, 2)), scores=np.empty(0))


def join(parts: Sequence[Detections]) -> Detections:
    """All of them in one, in order. Args: `parts`, one or more."""
    return Detections(
        boxes=np.concatenate([part.boxes for part in parts]),
        points=np.concatenate([part.points for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
    )


def suppress(
    found: Detections, *, max_overlap: float, check_time: Callable[[], None] = never_late
) -> Detections:
    """The best of each that overlap: by score, then from the top left. Intersection over union.

    Args:
        check_time: called for each that is kept. A picture of nothing but faces has tens of thousands.
    """
    order = np.lexsort((found.boxes[:, 0], found.boxes[:, 1], -found.scores))
    areas, kept = found.areas, []
    while len(order):
        check_time()
        best, rest = order[0], order[1:]
        kept.append(best)
        low = np.maximum(found.boxes[best, :2], found.boxes[rest, :2])
        high = np.minimum(found.boxes[best, 2:], found.boxes[rest, 2:])
        shared = np.maximum(high - low, 0).prod(axis=1)
        union = areas[best] + areas[rest] - shared
        order = rest[shared <= max_overlap * union]
    return found.take(np.array(kept, np.intp))


def largest_first(found: Detections, *, most: int) -> Detections:
    """Ordered by the area of the box, then from the top left. No more than `most`."""
    order = np.lexsort((found.boxes[:, 0], found.boxes[:, 1], -found.areas))
    return found.take(order[:most])


def _scaled(points: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    return (points + 0.5) * scale - 0.5
