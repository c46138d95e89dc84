"""Faces as answers have them, from what a row or a picture has of one."""

import re
import uuid
from collections.abc import Mapping
from typing import Any

from pipeline.ports import VectorIndex
from pipeline.ports.image_rows import image_id_of_row
from pipeline.service.face_ids import face_id_of
from pipeline.service.index_faces import EXTERNAL_ID, IMAGE_ID
from pipeline.types import CollectionInfo, CollectionRef, FacePlace, IndexRow, SearchHit, place_of

Shape = dict[str, Any]
MAX_EXTERNAL_CHARS = 255
_NO_SIGN = re.compile(r"[^a-zA-Z0-9_.\-:]")  # as the API has it
_OF_OBJECTS = (EXTERNAL_ID, EXTERNAL_ID.replace("_", "-"))  # some proxies drop headers with an underscore
_LANDMARKS = ("eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight")
_QUALITY = {"Brightness": "face_brightness", "Sharpness": "face_sharpness"}
_POSE = {"Roll": "face_roll", "Yaw": "face_yaw", "Pitch": "face_pitch"}


def model_version(name: str, fingerprint: str) -> str:
    return f"{name}-{fingerprint[:8]}"


def version_of(info: CollectionInfo) -> str:
    return model_version(info.model_name, info.fingerprint)


def version_at(target: CollectionRef, index: VectorIndex) -> str:
    return model_version(index.model_of(target).name, target.fingerprint)


def box(place: FacePlace) -> Shape:
    left, top, width, height = place.share
    return {"Left": left, "Top": top, "Width": width, "Height": height}


def face(row: IndexRow | SearchHit, version: str, user_id: str | None = None) -> Shape:
    """A face of a collection. Args: `user_id`: whose it is."""
    made: Shape = {"FaceId": face_id_of(row.id), "IndexFacesModelVersion": version}
    if (place := place_of(row.metadata, width=row.width, height=row.height)) is not None:
        made["BoundingBox"] = box(place)
    if external_id := _external_id(row):
        made["ExternalImageId"] = external_id
    made |= {"UserId": user_id} if user_id else {}
    return made | {"ImageId": _image_id(row)} | _confidence(row.metadata)


def _image_id(row: IndexRow | SearchHit) -> str:
    """Of IndexFaces, or else that of the picture that a job read."""
    return row.metadata.get(IMAGE_ID) or str(uuid.UUID(image_id_of_row(row.id)))


def _external_id(row: IndexRow | SearchHit) -> str:
    """That of IndexFaces, or of the metadata of the object that a job read, or else its key."""
    given = next((row.metadata[name] for name in _OF_OBJECTS if row.metadata.get(name)), "")
    if not given and IMAGE_ID not in row.metadata:
        given = row.ref.key if isinstance(row, IndexRow) else row.key
    return _NO_SIGN.sub(":", given)[-MAX_EXTERNAL_CHARS:]


def compared_face(metadata: Mapping[str, str], place: FacePlace) -> Shape:
    """A face of a picture that nobody keeps, with what is known of it beside its box."""
    made: Shape = {"BoundingBox": box(place)} | _confidence(metadata)
    if landmarks := _landmarks(metadata, place):
        made["Landmarks"] = landmarks
    for name, fields in (("Pose", _POSE), ("Quality", _QUALITY)):
        if all(field in metadata for field in fields.values()):
            made[name] = {member: float(metadata[field]) for member, field in fields.items()}
    return made


def confidence_of(metadata: Mapping[str, str]) -> float | None:
    """0 to 100."""
    text = metadata.get("face_confidence")
    return round(100 * float(text), 3) if text else None


def _confidence(metadata: Mapping[str, str]) -> Shape:
    confidence = confidence_of(metadata)
    return {} if confidence is None else {"Confidence": confidence}


def _landmarks(metadata: Mapping[str, str], place: FacePlace) -> list[Shape]:
    points = [tuple(map(float, point.split(","))) for point in metadata.get("face_points", "").split()]
    if len(points) != len(_LANDMARKS):
        return []
    return [
        {"Type": name, "X": (x + 0.5) / place.width, "Y": (y + 0.5) / place.height}
        for name, (x, y) in zip(_LANDMARKS, points, strict=True)
    ]
