"""Similarity, 0 to 100: a published curve over the cosine, which rises everywhere and belongs to one model.

The order of scores is the same in both. A threshold is turned into a cosine once, and cosines are compared.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from pipeline.errors import ArgumentError, ModelMismatchError
from pipeline.evaluation.error_rates import ErrorsAt, ModelName

FORMAT = "pictor.calibration/1"
VERSION_DIGITS = 12  # of a hash: enough to tell a model's calibrations apart


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationData:
    """What the curve was fitted to. `errors` were measured on the same comparisons."""

    description: str
    persons: int
    images: int
    genuine: int
    impostor: int
    errors: Sequence[ErrorsAt]


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """The curve is straight between its knots, and goes from (-1, 0) to (1, 100).

    `knots` are pairs of a cosine and its similarity, both rising.
    """

    version: str
    model: ModelName
    made_at: str  # UTC, RFC 3339
    method: str
    knots: Sequence[tuple[float, float]]
    data: CalibrationData

    def similarities_of(self, cosines: NDArray[np.floating]) -> NDArray[np.float64]:
        """The similarity of each cosine. What rounding puts beyond -1 or 1 is taken as these.

        Of two cosines that differ as floats of 32 bits do near 1, the higher one has the higher similarity.
        """
        xs, ys = np.array(self.knots).T
        place = np.clip(np.searchsorted(xs, cosines, side="right"), 1, len(xs) - 1)
        # No higher than the next knot, which rounding could pass: the order would change there.
        similarities: NDArray[np.float64] = np.minimum(np.interp(cosines, xs, ys), ys[place])
        return similarities

    def similarity_of(self, cosine: float) -> float:
        return float(self.similarities_of(np.array([cosine]))[0])

    def cosine_of(self, similarity: float) -> float:
        """The cosine at and above which scores have this similarity. Raises ArgumentError beyond 0 to 100."""
        if not 0 <= similarity <= 100:
            raise ArgumentError(f"similarity {similarity:g} is not from 0 to 100")
        xs, ys = np.array(self.knots).T
        return float(np.interp(similarity, ys, xs))

    def is_of(self, fingerprint: str) -> bool:
        """Whether it is of the model with this fingerprint."""
        return fingerprint == self.model.fingerprint

    def check_model(self, name: str, fingerprint: str) -> None:
        """Raises ModelMismatchError: cosines of another model mean something else."""
        if not self.is_of(fingerprint):
            raise ModelMismatchError(
                f"calibration {self.version} is of model {self.model.name} ({self.model.fingerprint[:8]}), "
                f"and this is model {name} ({fingerprint[:8]})"
            )


def make_calibration(
    *,
    model: ModelName,
    made_at: str,
    method: str,
    knots: Sequence[tuple[float, float]],
    data: CalibrationData,
) -> Calibration:
    """Raises ArgumentError: the knots are no curve that rises from (-1, 0) to (1, 100)."""
    fault = _fault_of(knots)
    if fault:
        raise ArgumentError(f"calibration: {fault}")
    version = version_of(model.fingerprint, knots)
    return Calibration(version=version, model=model, made_at=made_at, method=method, knots=knots, data=data)


def version_of(fingerprint: str, knots: Sequence[tuple[float, float]]) -> str:
    """The same for the same curve of the same model, whoever fitted it to what."""
    curve = json.dumps([fingerprint, [[float(x), float(y)] for x, y in knots]], separators=(",", ":"))
    return f"{fingerprint[:8]}-{hashlib.sha256(curve.encode()).hexdigest()[:VERSION_DIGITS]}"


def calibration_json(calibration: Calibration) -> Mapping[str, object]:
    return {"format": FORMAT, **asdict(calibration)}


def read_calibration(text: str, *, of: str) -> Calibration:
    """Read what `calibration_json` made.

    Args:
        of: names the document in a message.

    Raises:
        ArgumentError: it is none, or its curve is not the one that its version names.
    """
    try:
        document = json.loads(text)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ArgumentError(f"{of}: this is no calibration; the format {FORMAT!r} is expected")
        found = _ADAPTER.validate_python(document)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        raise ArgumentError(f"{of}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from err
    except (ValueError, RecursionError) as err:
        raise ArgumentError(f"{of}: this is not JSON") from err
    fault = _fault_of(found.knots)
    if fault:
        raise ArgumentError(f"{of}: {fault}")
    expected = version_of(found.model.fingerprint, found.knots)
    if found.version != expected:
        raise ArgumentError(f"{of}: the version is {found.version}, and its curve has {expected}")
    return found


def _fault_of(knots: Sequence[tuple[float, float]]) -> str:
    curve = np.array(knots, dtype=np.float64).reshape(-1, 2)
    if len(curve) < 2 or tuple(curve[0]) != (-1, 0) or tuple(curve[-1]) != (1, 100):
        return "the knots do not go from (-1, 0) to (1, 100)"
    if not np.all(np.diff(curve, axis=0) > 0):  # also if one is no number
        return "the knots do not rise"
    return ""


_ADAPTER = TypeAdapter(Calibration)
