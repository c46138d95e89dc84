"""Reads the answer of YuNet, the face detector of libfacedetection and of OpenCV's model zoo.

Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20 (2023). For
each stride (8, 16 and 32 px) and each cell of it the network gives two scores, a box and five points.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.models.faces.detections import NO_FACE, Detections, join
from pipeline.adapters.models.onnx.network import OnnxNetwork
from pipeline.errors import ModelError
from pipeline.types import Pixels

STRIDES = (8, 16, 32)
OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES)
_WIDTHS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
MOST_CELLS = 1000  # of one stride that are looked at further: the best, on a picture of nothing but faces

Values = NDArray[np.float32]


class YuNet:
    """Safe to share between threads."""

    def __init__(self, network: OnnxNetwork, *, min_score: float) -> None:
        missing = sorted(set(OUTPUTS) - set(network.outputs))
        if missing:
            raise ModelError(
                f"{network.name}: output {missing[0]!r} is missing; YuNet has {', '.join(OUTPUTS)}"
            )
        self._network = network
        self._min_score = min_score

    def look(self, rgb: Pixels) -> Callable[[], Detections]:
        """Ask the network. The function that is returned gives all that score enough, overlapping ones too.

        Args:
            rgb: [H, W, 3].
        """
        blob = _to_input(rgb)
        answers = dict(zip(OUTPUTS, self._network.run(blob, OUTPUTS), strict=True))
        width = blob.shape[3]
        return lambda: self._read_all(answers, width)

    def _read_all(self, answers: Mapping[str, Values], width: int) -> Detections:
        return join(
            [
                self._read(answers, stride, width // stride, scores)
                for stride, scores in zip(STRIDES, self._scores(answers), strict=True)
            ]
        )

    def _scores(self, answers: Mapping[str, Values]) -> list[Values]:
        """By stride. All are computed at once: a call of numpy takes longer than so few numbers."""
        cls, obj = ([self._rows(answers, kind, stride) for stride in STRIDES] for kind in ("cls", "obj"))
        both = np.clip(np.concatenate([np.concatenate(cls), np.concatenate(obj)]), 0, 1)[:, 0]
        scores = np.sqrt(both[: len(both) // 2] * both[len(both) // 2 :])
        return np.split(scores, np.cumsum([len(rows) for rows in cls[:-1]]))

    def _read(self, answers: Mapping[str, Values], stride: int, columns: int, scores: Values) -> Detections:
        boxes, points = (self._rows(answers, kind, stride) for kind in ("bbox", "kps"))
        cells = np.flatnonzero(scores >= self._min_score)  # NaN is never chosen
        cells = cells[np.argsort(-scores[cells], kind="stable")[:MOST_CELLS]]
        if not len(cells):
            return NO_FACE
        corner = np.column_stack([cells % columns, cells // columns])
        boxes, points = boxes[cells].astype(np.float64), points[cells].astype(np.float64)
        centre = (corner + boxes[:, :2]) * stride
        half = np.exp(np.clip(boxes[:, 2:], -10, 10)) * stride / 2
        found = Detections(
            boxes=np.concatenate([centre - half, centre + half], axis=1),
            points=np.asarray((points.reshape(-1, 5, 2) + corner[:, None]) * stride, np.float64),
            scores=scores[cells].astype(np.float64),
        )
        numbers = np.concatenate([found.boxes, found.points.reshape(-1, 10)], axis=1)
        return found.take(np.flatnonzero(np.isfinite(numbers).all(axis=1)))

    def _rows(self, answers: Mapping[str, Values], kind: str, stride: int) -> Values:
        values = answers[f"{kind}_{stride}"]
        if values.ndim != 3 or values.shape[2] != _WIDTHS[kind]:
            raise ModelError(
                f"{self._network.name}: output {kind}_{stride} is {list(values.shape)}, "
                f"[1, N, {_WIDTHS[kind]}] is expected of YuNet"
            )
        row: Values = values[0]
        return row


def _to_input(rgb: Pixels) -> Values:
    """[1, 3, H, W] of 0..255 in the order blue, green, red. Black fills sides up to what 32 divides."""
    height, width = rgb.shape[:2]
    blob = np.zeros((1, 3, -(-height // 32) * 32, -(-width // 32) * 32), np.float32)
    blob[0, :, :height, :width] = rgb[..., ::-1].transpose(2, 0, 1)
    return blob
