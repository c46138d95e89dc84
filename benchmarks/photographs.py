"""Pictures to measure with: real photographs where they are at hand, else drawn ones of known sizes."""

import io
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.part import REPOSITORY

DRAWN_SIDE_PX = 512
QUALITY = 88


class PhotographsError(RuntimeError):
    """There are no photographs to measure with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Photograph:
    name: str
    body: bytes
    width: int
    height: int


def photo_folder() -> Path:
    """Raises PhotographsError, naming the variable to set."""
    folder = (
        Path(os.environ.get("PICTOR_TEST_DATA", REPOSITORY / ".." / "shared" / "data")).resolve() / "photos"
    )
    if not folder.is_dir():
        raise PhotographsError(f"no photographs at {folder}; set PICTOR_TEST_DATA")
    return folder


def read_photographs() -> Iterator[Photograph]:
    """Every JPEG of `photo_folder()`, by name."""
    folder = photo_folder()
    for path in sorted(folder.rglob("*.jpg")):
        body = path.read_bytes()
        with Image.open(io.BytesIO(body)) as image:
            width, height = image.size
        yield Photograph(name=str(path.relative_to(folder)), body=body, width=width, height=height)


def copy_some(count: int, folder: Path, *, of_all_kinds: bool = False) -> Path:
    """Some photographs alone: the first, or as many from everywhere in the folder, of all sizes there are."""
    folder.mkdir(parents=True)
    paths = sorted(photo_folder().rglob("*.jpg"))
    for path in paths[:: len(paths) // count if of_all_kinds else 1][:count]:
        shutil.copy(path, folder / f"{path.parent.name}-{path.name}")
    return folder


def draw_jpeg(width: int, height: int, seed: int) -> bytes:
    """A JPEG with the detail at each scale that photographs have (1/f noise), the same for the same seed."""
    buffer = io.BytesIO()
    Image.fromarray(_draw(width, height, seed)).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _draw(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1.0  # the mean is set below
    spectrum = np.fft.rfft2(rng.standard_normal((3, height, width))) / frequency
    planes = np.fft.irfft2(spectrum, s=(height, width))
    planes = 128 + 48 * (planes - planes.mean()) / planes.std()
    rgb: NDArray[np.uint8] = np.clip(planes, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return rgb
