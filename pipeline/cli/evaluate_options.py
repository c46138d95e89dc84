"""What the command line of `pictor evaluate` says, and the thresholds that it means."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ArgumentError
from pipeline.evaluation.calibration import Calibration
from pipeline.service.labelled_images import Columns


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateOptions:
    source: str
    model: str
    at: Sequence[float]
    calibration: Path | None
    calibrate: Path | None
    fpir: float | None
    gallery_size: int | None
    columns: Columns
    not_enrolled: float
    seed: int
    ignore_failed: bool
    description: str
    as_json: bool
    html: Path | None
    card: Path | None


def cosines_of(thresholds: Sequence[float], calibration: Calibration | None) -> list[float]:
    """Above 1 a threshold is a similarity. 1 is a cosine: a similarity of 1 is of no use as a threshold.

    Raises:
        ArgumentError: it is neither, or a similarity and there is no calibration.
    """
    return [_cosine_of(threshold, calibration) for threshold in thresholds]


def _cosine_of(threshold: float, calibration: Calibration | None) -> float:
    if -1 <= threshold <= 1:
        return threshold
    if not 1 < threshold <= 100:
        raise ArgumentError(
            f"--at {threshold:g} is neither a cosine (-1 to 1) nor a similarity (above 1, to 100)"
        )
    if calibration is None:
        raise ArgumentError(
            f"--at {threshold:g} is a similarity, and only a calibration says which cosine that is; give "
            "--calibration FILE, which `pictor evaluate SOURCE --calibrate FILE` makes, or a cosine from -1 "
            "to 1"
        )
    return calibration.cosine_of(threshold)
