"""Draws the pictures of tests/data/photos: python -m tests.draw_pictures

The files are committed, so that the tests read the same bytes on every machine. Draw them again only to
change what there is: another version of the encoder writes other bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.demo.scenes import draw_scene
from tests.sample_data import SHIPPED

# Shorter and longer side of the drawn scenes. The last one is large enough to be scaled while it is decoded.
SMALL, USUAL, LARGE, CAMERA = (150, 200), (360, 480), (1200, 1600), (2076, 2768)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How a scene is stored."""

    name: str
    size_px: tuple[int, int] = USUAL
    mode: str = "RGB"
    portrait: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)  # of Pillow's JPEG encoder


VARIANTS = (
    Variant(name="plain"),
    Variant(name="small", size_px=SMALL),
    Variant(name="odd-sides", size_px=(331, 477)),
    Variant(name="portrait", portrait=True),
    Variant(name="progressive", options={"progressive": True}),
    Variant(name="full-colour", options={"subsampling": "4:4:4"}),
    Variant(name="half-colour", options={"subsampling": "4:2:2"}),
    Variant(name="grey", mode="L"),
    Variant(name="strong-compression", options={"quality": 25}),
    Variant(name="fine", options={"quality": 96}),
    Variant(name="restart-markers", options={"restart_marker_rows": 2}),
    Variant(name="wide", size_px=(180, 720)),
)
ORIENTATIONS = range(1, 9)
ROUNDS = 3  # of all variants, each with another scene


def variants() -> list[Variant]:
    turned = [
        Variant(name=f"orientation-{number}", options={"exif": _exif(number)}) for number in ORIENTATIONS
    ]
    large = [
        Variant(name="large", size_px=LARGE),
        Variant(name="camera", size_px=CAMERA, options={"quality": 70}),
    ]
    return [*VARIANTS * ROUNDS, *turned, *large]


def draw(scene: int, variant: Variant) -> Image.Image:
    short_px, long_px = variant.size_px
    size = (short_px, long_px) if variant.portrait else (long_px, short_px)
    return draw_scene(scene).resize(size, Image.Resampling.LANCZOS).convert(variant.mode)


def write_pictures(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, variant in enumerate(variants()):
        path = folder / f"{number:02}-{variant.name}.jpg"
        scene = number + number // len(VARIANTS)  # a variant meets another kind of scene in each round
        draw(scene, variant).save(path, "JPEG", **{"quality": 82, "optimize": True, **variant.options})


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


if __name__ == "__main__":
    write_pictures(SHIPPED / "photos")
