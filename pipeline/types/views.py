"""The parts of an image that a model looks at, and what is known of one that is a face."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.types.models import Pixels

Point = tuple[float, float]  # x and y, px of the upright picture. The centre of the first pixel is (0, 0)

# The least overlap of the boxes of one face in one picture, as intersection over union. Detectors draw boxes
# of other sizes around the same face.
SAME_PLACE = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A part of an image, px."""

    left: int
    top: int
    width: int
    height: int

    def overlap(self, other: "Box") -> float:
        """Intersection over union, 0..1."""
        width = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        height = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        shared = max(0, width) * max(0, height)
        union = self.width * self.height + other.width * other.height - shared
        return shared / union if union else 0.0


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
    beside: Mapping[str, Pixels] = field(
        default_factory=dict
    )  # inputs of the models beside the first, by name


@dataclass(frozen=True, kw_only=True, slots=True)
class FacePlace:
    """Where a face is: its box, and the size of the upright picture, px."""

    box: Box
    width: int
    height: int

    @property
    def share(self) -> tuple[float, float, float, float]:
        """Left, top, width and height, 0..1 of the picture."""
        box, digits = self.box, 6
        return (
            round(box.left / self.width, digits),
            round(box.top / self.height, digits),
            round(box.width / self.width, digits),
            round(box.height / self.height, digits),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceOutline:
    """Where a face is in a picture of any size: left, top, width and height, 0..1, and how it is turned."""

    share: tuple[float, float, float, float]
    roll: float = 0.0  # degrees, above 0: clockwise


METADATA_PREFIX = "face_"
"""Metadata of a row that begins so is of the face, and not of the object."""

_ANGLE = re.compile(r"-?\d{1,3}\.\d")
_BOX = re.compile(r"(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})")


def view_metadata(view: View) -> Mapping[str, str]:
    """What a row has of its view. Numbers have leading zeros, since texts are compared letter by letter."""
    if view.box is None or view.face is None:
        return {}
    return face_metadata(view.box, view.face)


def face_metadata(box: Box, face: Face) -> Mapping[str, str]:
    """The same of a face that no row has."""
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


def place_of(metadata: Mapping[str, str], *, width: int, height: int) -> FacePlace | None:
    """What `view_metadata` wrote. None where the view is no face, or the text is not ours."""
    match = _BOX.fullmatch(metadata.get(f"{METADATA_PREFIX}box", ""))
    if match is None or not (width and height):
        return None
    left, top, box_width, box_height = map(int, match.groups())
    return FacePlace(
        box=Box(left=left, top=top, width=box_width, height=box_height), width=width, height=height
    )


def outline_of(metadata: Mapping[str, str], *, width: int, height: int) -> FaceOutline | None:
    """What a small picture of the face needs. None where the view is no face."""
    place = place_of(metadata, width=width, height=height)
    if place is None:
        return None
    return FaceOutline(share=place.share, roll=roll_of(metadata))


def roll_of(metadata: Mapping[str, str]) -> float:
    """0 where it is not known."""
    text = metadata.get(f"{METADATA_PREFIX}roll", "")
    return float(text) if _ANGLE.fullmatch(text) else 0.0


def split_metadata(metadata: Mapping[str, str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The metadata of the object, and that of its view."""
    of_view = {name: text for name, text in metadata.items() if name.startswith(METADATA_PREFIX)}
    return {name: text for name, text in metadata.items() if name not in of_view}, of_view


def _cosine(degrees: float) -> float:
    return math.cos(math.radians(degrees))
