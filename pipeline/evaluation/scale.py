"""Similarity, 0 to 100, for the cosines of one model, with a calibration or without one."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.evaluation.calibration import Calibration, read_calibration

UNCALIBRATED = "none"
MAX_CALIBRATION_BYTES = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """Without a calibration of the model, similarity is `50 (1 + cosine)`: it rises, and says no rate."""

    calibration: Calibration | None

    @property
    def version(self) -> str:
        return self.calibration.version if self.calibration else UNCALIBRATED

    def similarity_of(self, cosine: float) -> float:
        if self.calibration is None:
            return max(0.0, min(100.0, 50 * (1 + cosine)))
        return self.calibration.similarity_of(cosine)

    def cosine_of(self, similarity: float) -> float:
        if self.calibration is None:
            return similarity / 50 - 1
        return self.calibration.cosine_of(similarity)


def scale_for(calibration: Calibration | None, fingerprint: str) -> Scale:
    """That of the calibration if it is of the model with this fingerprint."""
    is_of_it = calibration is not None and calibration.is_of(fingerprint)
    return Scale(calibration=calibration if is_of_it else None)


def calibration_in(path: Path | None) -> Calibration | None:
    """That of the setting PICTOR_CALIBRATION, which is read once in a process.

    Raises:
        ConfigError: the file is missing, or is no calibration.
    """
    return None if path is None else _read(path)


@cache
def _read(path: Path) -> Calibration:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_CALIBRATION_BYTES + 1)
        if len(text) > MAX_CALIBRATION_BYTES:
            raise ConfigError(f"PICTOR_CALIBRATION: {path} is over {MAX_CALIBRATION_BYTES} bytes")
        return read_calibration(text.decode(), of=f"PICTOR_CALIBRATION: {path}")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"PICTOR_CALIBRATION: {path} cannot be read: {type(err).__name__}") from err
