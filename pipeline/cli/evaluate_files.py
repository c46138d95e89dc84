"""The files that `pictor evaluate` reads and writes beside images."""

import json
from pathlib import Path

from pipeline.cli.output import note
from pipeline.cli.rights import share
from pipeline.errors import ArgumentError
from pipeline.evaluation.calibration import Calibration, calibration_json, read_calibration
from pipeline.types import ModelSpec

MAX_CALIBRATION_BYTES = 2**20


def open_calibration(file: Path | None, spec: ModelSpec) -> Calibration | None:
    """The calibration that --calibration names.

    Raises:
        ArgumentError: it cannot be read, or is none.
        ModelMismatchError: it is of another model.
    """
    if file is None:
        return None
    calibration = read_calibration(_read(file), of=f"--calibration {file}")
    calibration.check_model(spec.name, spec.fingerprint)
    return calibration


def keep_calibration(calibration: Calibration, path: Path) -> None:
    """Write it to a file, or into a folder under the first digits of the model's fingerprint."""
    file = path / f"{calibration.model.fingerprint[:8]}.calibration.json" if path.is_dir() else path
    text = json.dumps(calibration_json(calibration), ensure_ascii=False, indent=1)
    write_result(file, f"{text}\n", option="--calibrate")
    note(f"Calibration {calibration.version} is in {file}.")


def write_result(path: Path, text: str, *, option: str) -> None:
    """Raises ArgumentError, naming the option: it cannot be written."""
    try:
        is_new = not path.exists()
        path.write_text(text, encoding="utf-8")
        if is_new:
            share(path)
    except OSError as err:
        raise ArgumentError(f"{option} {path}: {err.strerror}") from err


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_CALIBRATION_BYTES:
            raise ArgumentError(f"--calibration {file}: it is over {MAX_CALIBRATION_BYTES} bytes")
        return file.read_text(encoding="utf-8")
    except OSError as err:
        raise ArgumentError(f"--calibration {file}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ArgumentError(f"--calibration {file}: this is not UTF-8") from err
