"""Malformed, odd or dangerous files: 784 of public test suites where they are found, and what plain Pillow
made of each. What must become of the files that tests make is in tests/unit/test_decode_hostile.py.
"""

import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import ImageError
from pipeline.image.decode import DecodedImage, decode_image
from pipeline.ports import ImageLimits
from pipeline.types import Reason
from tests.hostile_files import make_hostile_files
from tests.sample_data import SHIPPED, large_sets

PEAK_LIMIT_BYTES = 300_000_000
DECODABLE = {"JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"}
# Off the list. Their first bytes are any text, or so few that other files have them, too.
WITHOUT_SIGNATURE = {"IMT", "XBM", "TGA", "DIB", "PCX", "DCX", "SGI", "FLI", "PIXAR", "PPM"}
# Pillow gives up on damage beside the pixels. The pixels are whole, or what Pillow makes of them without it.
SOUND_PIXELS = {
    "pillow/unknown_compression_method.png",  # of its ICC profile
    "zune/fuzz-corpus/png/02e7afd1c44e54905fa5fd317974983c881b214a.crash",  # a later frame of an animation
    "zune/fuzz-corpus/png/7d4b3dc5f8ec7f1f6e40b36a75cefe7c1c70a4d1.crash",  # checksums of comments
}

# One process for all files; its peak over its idle size is then an upper bound for each of them. The file
# during which the peak grew last is the one to blame.
PROBE = """
import sys
from pathlib import Path
from pipeline.image.decode import decode_image
from pipeline.errors import ImageError
from pipeline.ports import ImageLimits

def status(field):
    line = next(line for line in Path("/proc/self/status").open() if line.startswith(field))
    return int(line.split()[1]) * 1024

def decode(path):
    try:
        decode_image(path.read_bytes(), limits=ImageLimits(), target_px=256)
    except ImageError:
        pass

paths = [Path(line.strip()) for line in sys.stdin]
decode(Path(sys.argv[1]))  # an ordinary photograph: what every worker has done once is its idle size
idle = highest = status("VmHWM")
worst = paths[0]
for path in paths:
    decode(path)
    if status("VmHWM") > highest:
        highest, worst = status("VmHWM"), path
print(highest - idle, worst)
"""


@pytest.fixture(scope="module")
def hostile(large_data: Path) -> dict[str, dict[str, str]]:
    """What plain Pillow 13 did with each file, by path."""
    index = large_data / "hostile" / "hostile.csv"
    with index.open(newline="") as lines:
        return {row["path"]: row for row in csv.DictReader(lines)}


@pytest.fixture(scope="module")
def outcomes(large_data: Path, hostile: dict[str, dict[str, str]]) -> dict[str, DecodedImage | ImageError]:
    """Any exception but ImageError ends the module here."""
    return {path: outcome((large_data / "hostile" / path).read_bytes()) for path in hostile}


def outcome(body: bytes) -> DecodedImage | ImageError:
    try:
        return decode_image(body, limits=ImageLimits(), target_px=256)
    except ImageError as error:
        return error


@pytest.mark.large_sets
def test_every_file_ends_as_an_image_or_with_a_reason(
    outcomes: dict[str, DecodedImage | ImageError], hostile: dict[str, dict[str, str]]
) -> None:
    counts = Counter(
        (hostile[path]["result"], result.reason if isinstance(result, ImageError) else "decoded")
        for path, result in outcomes.items()
    )
    for (pillow, ours), files in sorted(counts.items()):
        print(f"Pillow {pillow:6} ours {ours:20} {files:4} files")
    assert counts.total() == len(hostile) == 784
    assert all(result.detail for result in outcomes.values() if isinstance(result, ImageError))


@pytest.mark.large_sets
def test_what_pillow_decodes_is_refused_only_for_a_documented_reason(
    outcomes: dict[str, DecodedImage | ImageError], hostile: dict[str, dict[str, str]]
) -> None:
    unexplained = {}
    for path, row in hostile.items():
        result = outcomes[path]
        if row["result"] != "ok" or isinstance(result, DecodedImage):
            continue
        short_px = min(int(row["width"]), int(row["height"]))
        match result.reason:
            case Reason.UNSUPPORTED_FORMAT:
                explained = row["format"] not in DECODABLE
            case Reason.NOT_AN_IMAGE:
                explained = row["format"] in WITHOUT_SIGNATURE
            case Reason.TOO_SMALL:
                explained = short_px < ImageLimits().min_side_px
            case Reason.TOO_MANY_PIXELS:
                explained = int(row["width"]) * int(row["height"]) > 50_000_000
            case _:
                explained = False
        if not explained:
            unexplained[path] = str(result)
    assert unexplained == {}


@pytest.mark.large_sets
def test_what_pillow_refuses_is_refused(
    outcomes: dict[str, DecodedImage | ImageError], hostile: dict[str, dict[str, str]]
) -> None:
    refused = [path for path, row in hostile.items() if row["result"] != "ok"]
    assert len(refused) > 250
    assert {path for path in refused if isinstance(outcomes[path], DecodedImage)} == SOUND_PIXELS


@pytest.mark.large_sets
def test_sizes_are_those_that_pillow_reads(
    outcomes: dict[str, DecodedImage | ImageError], hostile: dict[str, dict[str, str]]
) -> None:
    """As sets of two: ours are upright, Pillow's as stored."""
    different = {
        path: (result.width, result.height)
        for path, result in outcomes.items()
        if isinstance(result, DecodedImage)
        and path not in SOUND_PIXELS  # Pillow tells no size
        and {result.width, result.height} != {int(hostile[path]["width"]), int(hostile[path]["height"])}
    }
    assert different == {}


def test_no_file_costs_300_mb(tmp_path: Path) -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("peaks are read from /proc of Linux")
    paths = [*made_files(tmp_path), *large_files()]
    photograph = next((SHIPPED / "photos").glob("*.jpg"))
    probe = subprocess.run(
        [sys.executable, "-c", PROBE, str(photograph)],
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    peak, worst = probe.stdout.split(maxsplit=1)
    print(f"peak {int(peak) / 1e6:.1f} MB over idle, reached with {worst.strip()}")
    assert len(paths) > 60
    assert int(peak) < PEAK_LIMIT_BYTES


def made_files(folder: Path) -> Iterator[Path]:
    for file in make_hostile_files():
        path = folder / file.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file.body)
        yield path


def large_files() -> list[Path]:
    found = large_sets()
    return sorted(path for path in (found / "hostile").rglob("*") if path.is_file()) if found else []
