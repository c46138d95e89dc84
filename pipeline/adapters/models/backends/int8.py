"""A network in int8, calibrated on a sample, guarded, and kept beside the weights. It is a model of its own.

Its vectors differ from those in float32 by more than backends do. So it has another fingerprint, over the
calibrated network and the backend that was measured, and the vectors of the two never mix.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.models.backends.backend import Backend, check_installed
from pipeline.adapters.models.weights import digest_file
from pipeline.adapters.models.whole_file import write_whole
from pipeline.errors import ModelError
from pipeline.types import Int8Recall, ModelSpec

INT8 = "int8"
MIN_RECALL, NEIGHBOURS = 0.98, 10
MIN_IMAGES = 100  # of fewer, a list of ten nearest says little

Rows = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibrated:
    """What stands beside a kept network. `recall` is the share of the ten nearest that stay among them."""

    fingerprint: str  # of the model in float32
    digest: str  # of the file
    backend: Backend
    images: int
    recall: float

    @property
    def own_fingerprint(self) -> str:
        content = {"model": self.fingerprint, "network": self.digest, "backend": self.backend.value}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def spec_of(self, spec: ModelSpec) -> ModelSpec:
        """The model in int8. Args: `spec` is that in float32."""
        found = Int8Recall(recall_at_10=self.recall, images=self.images)
        return replace(spec, fingerprint=self.own_fingerprint, int8=found)


def keeps_neighbours(recall: float) -> bool:
    return recall >= MIN_RECALL  # not if it is not known


def refusal(spec: ModelSpec, recall: float, images: int) -> ModelError:
    """The error for a network whose neighbours are not those of float32, or are only where it is no faster.

    Args:
        recall: the best one that was found.
    """
    return ModelError(
        f"{spec.name}: in int8, recall@{NEIGHBOURS} against float32 is {recall:.3f} on {images} images, "
        f"under {MIN_RECALL}, with as many layers in float32 as leave it faster; int8 is refused for this "
        "model, and float32 stays"
    )


def recall_against(wanted: Rows, found: Rows) -> float:
    """The share of the ten nearest of each row, without itself, that are the same in both."""
    both = [np.argsort(-_cosines(rows), axis=1)[:, :NEIGHBOURS] for rows in (wanted, found)]
    shared = [len(np.intersect1d(*pair)) for pair in zip(*both, strict=True)]
    return float(np.mean(shared)) / NEIGHBOURS


def keep(
    fresh: Path, spec: ModelSpec, backend: Backend, *, images: int, recall: float, folder: Path
) -> ModelSpec:
    """The spec of the model in int8. Raises ModelError: it cannot be written."""
    body = fresh.read_bytes()
    calibrated = Calibrated(
        fingerprint=spec.fingerprint,
        digest=hashlib.sha256(body).hexdigest(),
        backend=backend,
        images=images,
        recall=recall,
    )
    try:
        write_whole(_network(spec, folder), body)
        write_whole(_record(spec, folder), json.dumps(asdict(calibrated), indent=1).encode())
    except OSError as err:
        raise ModelError(f"{spec.name}: folder {folder} cannot be written: {err.strerror}") from err
    return calibrated.spec_of(spec)


def find(spec: ModelSpec, folder: Path) -> tuple[Calibrated, Path]:
    """What was kept for this model.

    Raises:
        ModelError: nothing was, or it is damaged.
        ConfigError: the backend that it was measured with is not installed.
    """
    path = _network(spec, folder)
    try:
        fields = json.loads(_record(spec, folder).read_bytes())
        calibrated = Calibrated(**fields | {"backend": Backend(fields["backend"])})
        is_whole = digest_file(path) == calibrated.digest
    except FileNotFoundError as err:
        raise ModelError(
            f"{spec.name}: PICTOR_PRECISION is int8, and {folder} has no calibration of it; "
            f"`pictor models calibrate {spec.address} SOURCE` makes one"
        ) from err
    except (OSError, ValueError, TypeError, KeyError) as err:
        raise _damaged(spec, path) from err
    if not is_whole or calibrated.fingerprint != spec.fingerprint:
        raise _damaged(spec, path)
    check_installed(calibrated.backend)
    return calibrated, path


def spec_in_int8(spec: ModelSpec, folder: Path) -> ModelSpec:
    """Raises as `find` does."""
    return find(spec, folder)[0].spec_of(spec)


def _damaged(spec: ModelSpec, path: Path) -> ModelError:
    return ModelError(
        f"{spec.name}: the calibration {path} is damaged; "
        f"`pictor models calibrate {spec.address} SOURCE` makes it anew"
    )


def _network(spec: ModelSpec, folder: Path) -> Path:
    return folder / f"{spec.fingerprint[:16]}-int8.onnx"


def _record(spec: ModelSpec, folder: Path) -> Path:
    return folder / f"{spec.fingerprint[:16]}-int8.json"


def _cosines(rows: Rows) -> Rows:
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2)  # an image is no neighbour of itself
    return cosines
