"""Faces in pictures, and the persons whose they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.client.results.answer_object import AnswerObject, Nested


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFace(AnswerObject):
    """See docs/reference/faces.md. `box` has left, top, width and height, px of the upright picture."""

    box: Mapping[str, int]
    points: Sequence[Sequence[float]]
    confidence: float
    eyes_px: float
    sharpness: float
    brightness: float
    yaw: float
    pitch: float
    roll: float
    turn: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFaces(AnswerObject):
    """The size of the upright picture, px, and its faces, the largest first."""

    _NESTED: ClassVar[Nested] = {"faces": FoundFace}

    width: int
    height: int
    faces: tuple[FoundFace, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceMatch(AnswerObject):
    """A face of the second picture. `score` is the cosine."""

    box: Mapping[str, int]
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison(AnswerObject):
    """`face` is that of the first picture. The scores of `unmatched` faces are not told.

    `receipt` is the id of the record, and `inclusion` the proof that it is in the log.
    """

    _NESTED: ClassVar[Nested] = {"matches": FaceMatch}

    face: Mapping[str, int]
    matches: tuple[FaceMatch, ...]
    unmatched: Sequence[Mapping[str, int]]
    receipt: str = ""
    inclusion: Mapping[str, Any] | None = None
    to_verify: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Person(AnswerObject):
    """`state` is "active" with a face and "created" without one. `faces` are ids."""

    id: str
    state: str
    faces: Sequence[str]
    created_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedFace(AnswerObject):
    """`reason` is face_not_found, associated_to_another_person or low_match. `person` is whose face it is."""

    face: str
    reason: str
    person: str = ""
    score: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FacesChanged(AnswerObject):
    """The person as they are now, the ids of the faces that changed hands, and those that did not."""

    _NESTED: ClassVar[Nested] = {"person": Person, "refused": RefusedFace}

    person: Person
    changed: Sequence[str]
    refused: tuple[RefusedFace, ...]
