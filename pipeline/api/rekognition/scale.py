"""What AWS clients are told of similarity, 0 to 100."""

from pipeline.evaluation.scale import UNCALIBRATED, Scale, calibration_in, scale_for
from pipeline.settings import Settings
from pipeline.types import CollectionRef

__all__ = ["DEFAULT_THRESHOLD", "HEADER", "UNCALIBRATED", "Scale", "scale_of"]

HEADER = "x-pictor-calibration"
DEFAULT_THRESHOLD = 80.0  # of the API


def scale_of(target: CollectionRef, settings: Settings) -> Scale:
    """That of the file of PICTOR_CALIBRATION if it is of this model."""
    return scale_for(calibration_in(settings.calibration), target.fingerprint)
