"""The user's own pictures for the demo: a sample that Pictor itself can read."""

from pathlib import Path

from PIL import Image, ImageOps

from pipeline.errors import ArgumentError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
SIDE_PX = 1200  # copies need not be larger than a screen


def sample(folder: Path, count: int) -> list[Path]:
    """Pictures spread evenly over the folder.

    Raises:
        ArgumentError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ArgumentError(f"--images {folder}: no such folder")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and _opens(path))
    if not found:
        raise ArgumentError(
            f"--images {folder}: no {', '.join(sorted(SUFFIXES))} file in it that can be opened"
        )
    return found[:: max(1, len(found) // count)][:count]


def open_upright(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGB")
    upright.thumbnail((SIDE_PX, SIDE_PX))
    return upright


def _opens(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            picture.verify()
    except (OSError, SyntaxError, ValueError):
        return False
    return True
