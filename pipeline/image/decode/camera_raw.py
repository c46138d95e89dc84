"""Raw files of cameras: sensor values that no decoder here develops, beside a small preview.

Half of them look like TIFF, with the preview as the first page, and would be indexed by it.
"""

import re

from pipeline.errors import ImageError
from pipeline.image.decode.tiff_header import Page, Tag, other_pages
from pipeline.image.decode.work import Work
from pipeline.types import Reason

_SIGNATURES = tuple(
    (name, re.compile(pattern, re.DOTALL))
    for name, pattern in (
        ("CR2, Canon", rb"II\*\0.{4}CR"),
        ("CR3, Canon", rb"....ftypcrx "),
        ("CRW, Canon", rb"II.{4}HEAPCCDR"),
        ("RAF, Fujifilm", rb"FUJIFILMCCD-RAW"),
        ("ORF, Olympus", rb"IIR[OS]\x08\0|MMOR\0\0"),
        ("RW2, Panasonic", rb"IIU\0"),
        ("IIQ, Phase One", rb"II\*\0.{4}IIII|MM\0\*.{4}MMMM"),
        ("X3F, Sigma", rb"FOVb"),
        ("MRW, Minolta", rb"\0MRM"),
    )
)
_SENSOR_PHOTOMETRICS = {32803: "colour filter array", 34892: "linear raw"}
_REDUCED = 1  # the bit of NewSubfileType
_REDUCED_OLD = 2  # the value of SubfileType


def check_signature(body: bytes) -> None:
    """Raises ImageError(unsupported_format) for the raw formats that have a signature of their own."""
    for name, pattern in _SIGNATURES:
        if pattern.match(body[:64]):
            raise _refusal(name)


def check_is_picture(first: Page, work: Work) -> None:
    """Raises ImageError(unsupported_format) when the first page is only a preview of the file's picture."""
    if Tag.DNG_VERSION in first.entries:
        raise _refusal("DNG")
    is_preview = _is_preview(first)
    for page in (first, *other_pages(first, work)):
        sensor = _SENSOR_PHOTOMETRICS.get(page.number(Tag.PHOTOMETRIC, -1))
        if sensor is not None:
            raise _refusal(sensor)
        if is_preview and _pixels(page) > _pixels(first):
            raise ImageError(
                Reason.UNSUPPORTED_FORMAT,
                f"the first page is a preview of {_px(first)}, the picture is on a page of {_px(page)}",
            )


def _refusal(name: str) -> ImageError:
    return ImageError(
        Reason.UNSUPPORTED_FORMAT,
        f"a raw file of a camera ({name}), which Pictor does not develop; export it as JPEG, PNG or TIFF",
    )


def _is_preview(page: Page) -> bool:
    new, old = page.number(Tag.NEW_SUBFILE_TYPE, 0), page.number(Tag.SUBFILE_TYPE, 0)
    return bool(new & _REDUCED) or old == _REDUCED_OLD


def _pixels(page: Page) -> int:
    width, height = page.size
    return width * height


def _px(page: Page) -> str:
    return "{}x{} px".format(*page.size)
