"""The parts of an image that a model looks at, and what is known of one that is a face."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipeline.types.models import Pixels

Point = tuple[float, float]  # x and y, px of the upright picture. The centre of the first pixel is (0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A part of an image, px."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Face:
    """What is known of a face beside its box. `docs/reference/faces.md` says how each number is made.

    `points` are the eyes, the tip of the nose and the corners of the mouth, the left in the picture first.
    """

    points: tuple[Point, Point, Point, Point, Point]
    confidence: float  # of the detector, 0..1
    sharpness: float  # 0..100
    brightness: float  # 0..100
    yaw: float  # degrees; above 0: towards the right side of the picture
    pitch: float  # above 0: up
    roll: float  # above 0: clockwise

    @property
    def eyes_px(self) -> float:
        """Between the eyes."""
        return math.dist(self.points[0], self.points[1])

    def scaled(self, x: float, y: float) -> "Face":
        """In a picture that is so many times as wide and as high."""
        first, second, third, fourth, fifth = (
            ((left + 0.5) * x - 0.5, (top + 0.5) * y - 0.5) for left, top in self.points
        )
        return replace(self, points=(first, second, third, fourth, fifth))

    @property
    def turn(self) -> float:
        """The angle between where the face looks and the camera, degrees."""
        return math.degrees(math.acos(_cosine(self.yaw) * _cosine(self.pitch)))


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What the model sees at once. `box` is its place in the upright original. None is all of it."""

    pixels: Pixels  # [3, S, S]
    box: Box | None = None
    face: Face | None = None  # of a view that is one


METADATA_PREFIX = "face_"
"""Metadata of a row that begins so is of the face, and not of the object."""


def view_metadata(view: View) -> Mapping[str, str]:
    """What a row has of its view. Numbers have leading zeros, since texts are compared letter by letter."""
    box, face = view.box, view.face
    if box is None or face is None:
        return {}
    texts = {
        "box": f"{box.left},{box.top},{box.width},{box.height}",
        "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in face.points),
        "confidence": f"{face.confidence:.3f}",
        "eyes_px": f"{face.eyes_px:07.1f}",
        "sharpness": f"{face.sharpness:05.1f}",
        "brightness": f"{face.brightness:05.1f}",
        "yaw": f"{face.yaw:.1f}",
        "pitch": f"{face.pitch:.1f}",
        "roll": f"{face.roll:.1f}",
        "turn": f"{face.turn:05.1f}",
    }
    return {f"{METADATA_PREFIX}{name}": text for name, text in texts.items()}


def split_metadata(metadata: Mapping[str, str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The metadata of the object, and that of its view."""
    of_view = {name: text for name, text in metadata.items() if name.startswith(METADATA_PREFIX)}
    return {name: text for name, text in metadata.items() if name not in of_view}, of_view


def _cosine(degrees: float) -> float:
    return math.cos(math.radians(degrees))
