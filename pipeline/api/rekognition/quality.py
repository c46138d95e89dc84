"""QualityFilter: which faces are not good enough to be indexed or searched for, and why."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """The least confidence (0..1), sharpness and brightness (0..100) and eyes (px), and the most turn."""

    confidence: float
    sharpness: float
    brightness: float
    eyes_px: float
    turn_degrees: float


_LOW = Bar(confidence=0.6, sharpness=5, brightness=15, eyes_px=12, turn_degrees=70)
BARS: Mapping[str, Bar | None] = {
    "NONE": None,
    "AUTO": _LOW,
    "LOW": _LOW,
    "MEDIUM": Bar(confidence=0.7, sharpness=15, brightness=20, eyes_px=20, turn_degrees=50),
    "HIGH": Bar(confidence=0.8, sharpness=30, brightness=25, eyes_px=30, turn_degrees=30),
}


def reasons_against(metadata: Mapping[str, str], level: str) -> list[str]:
    """As the API names them. Args: `metadata`: as `face_metadata` made it. `level`: of BARS."""
    bar = BARS[level]
    if bar is None:
        return []
    has = {name: float(metadata[f"face_{name}"]) for name in _MEASURED if f"face_{name}" in metadata}
    if len(has) < len(_MEASURED):
        return []
    faults = {
        "LOW_CONFIDENCE": has["confidence"] < bar.confidence,
        "LOW_SHARPNESS": has["sharpness"] < bar.sharpness,
        "LOW_BRIGHTNESS": has["brightness"] < bar.brightness,
        "SMALL_BOUNDING_BOX": has["eyes_px"] < bar.eyes_px,
        "EXTREME_POSE": has["turn"] > bar.turn_degrees,
    }
    return [reason for reason, is_fault in faults.items() if is_fault]


def is_good_enough(metadata: Mapping[str, str], *, level: str) -> bool:
    return not reasons_against(metadata, level)


_MEASURED = ("confidence", "sharpness", "brightness", "eyes_px", "turn")
