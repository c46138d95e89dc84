"""From the tags of a TIFF page to its place in the table of known variants, or to a refusal that names it."""

from dataclasses import dataclass
from enum import IntEnum

from pipeline.errors import ImageError
from pipeline.image.decode.levels import Levels
from pipeline.image.decode.tiff_header import Page, Tag
from pipeline.image.decode.variants import (
    BASES,
    CCITT,
    CHANNELS,
    COLOURS,
    EXTRA,
    IN_JPEG,
    IN_PLANES,
    JPEG,
    PREDICTED_BITS,
    STORED,
    STRETCHED,
    WITH_PREDICTOR,
    Compression,
    Photometric,
    SampleFormat,
)
from pipeline.types import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class TiffVariant:
    stored: str  # as in the table
    bits: int  # a sample
    sample_format: SampleFormat
    compression: Compression
    planar: bool  # each sample in a plane of its own
    levels: Levels

    @property
    def samples_in_unit(self) -> int:
        """Samples of one pixel that lie together in a strip or tile."""
        return 1 if self.planar else _count_samples(self.stored)


def _count_samples(stored: str) -> int:
    return 3 if stored == "YCbCr" else len(stored)


def recognise_tiff(page: Page) -> TiffVariant:
    """Raises ImageError(unsupported_format), naming the variant and those that are known."""
    compression = _find_compression(page)
    photometric = _find_photometric(page, compression)
    stored, bits = _find_samples(page, photometric, compression)
    sample_format = _find_sample_format(page)
    planar = page.number(Tag.PLANAR_CONFIGURATION, 1) == 2 and _count_samples(stored) > 1
    _check_stored(stored, bits, sample_format, planar=planar)
    if photometric is Photometric.WHITE_IS_ZERO and stored in ("LA", "La"):
        raise _unsupported("alpha where white is zero", "alpha where black is zero")
    if stored == "YCbCr" and page.number(Tag.FILL_ORDER, 1) != 1 and compression not in JPEG:
        raise _unsupported("YCbCr of FillOrder 2", "YCbCr of FillOrder 1")  # libtiff fails on some of them
    _check_compression(page, compression, photometric, stored, bits, sample_format)
    return TiffVariant(
        stored=stored,
        bits=bits,
        sample_format=sample_format,
        compression=compression,
        planar=planar,
        levels=Levels(
            white_is_zero=photometric is Photometric.WHITE_IS_ZERO,
            bits_of_16=min(bits, 16),
            stretched=STRETCHED.get((sample_format, bits)),
        ),
    )


def _find_compression(page: Page) -> Compression:
    found = page.number(Tag.COMPRESSION, Compression.NONE)
    if found not in frozenset(Compression):
        raise _unsupported(f"compression {found}", _list_names(Compression))
    return Compression(found)


def _find_photometric(page: Page, compression: Compression) -> Photometric:
    if compression is Compression.OLD_JPEG:
        return Photometric.YCBCR  # whatever its tag says, as libtiff has it
    if Tag.PHOTOMETRIC not in page.entries:
        return _guess_photometric(page, compression)
    found = page.number(Tag.PHOTOMETRIC, -1)
    if found not in frozenset(Photometric):
        raise _unsupported(f"PhotometricInterpretation {found}", _list_names(Photometric))
    if page.number(Tag.INK_SET, 1) != 1 and found == Photometric.CMYK:
        raise _unsupported("inks other than CMYK", "CMYK")
    return Photometric(found)


def _guess_photometric(page: Page, compression: Compression) -> Photometric:
    """The tag has no default. libtiff takes a file without it this way, and with it most programs."""
    if compression in CCITT:
        return Photometric.WHITE_IS_ZERO
    return Photometric.RGB if page.number(Tag.SAMPLES_PER_PIXEL, 1) >= 3 else Photometric.BLACK_IS_ZERO


def _find_samples(page: Page, photometric: Photometric, compression: Compression) -> tuple[str, int]:
    """The kind of samples of a pixel, and the bits of one sample."""
    channels = CHANNELS.get(photometric, 1)
    samples = page.number(Tag.SAMPLES_PER_PIXEL, channels if compression is Compression.OLD_JPEG else 1)
    default_bits = (8,) if compression is Compression.OLD_JPEG else (1,)
    bits = (page.numbers(Tag.BITS_PER_SAMPLE) or default_bits)[:16]
    if len(bits) == 1:
        bits *= max(1, min(samples, 16))
    bits = bits[:samples]
    if samples < channels or len(bits) != samples or len(set(bits)) != 1:
        raise _unsupported(
            f"{_name(photometric)} of {samples} samples with {'+'.join(map(str, bits))} bits",
            f"{channels} samples or more, all of the same bits",
        )
    extra = page.numbers(Tag.EXTRA_SAMPLES)[: samples - channels]
    if not extra and photometric is Photometric.RGB and samples == 4:
        extra = (2,)  # a fourth sample that nobody explains is alpha
    kinds = "".join(EXTRA.get(each, "?") for each in extra).ljust(samples - channels, "?")
    return BASES.get(photometric, "L") + kinds, bits[0]


def _find_sample_format(page: Page) -> SampleFormat:
    found = sorted(set(page.numbers(Tag.SAMPLE_FORMAT) or (1,)))
    if len(found) == 1 and found[0] in frozenset(SampleFormat):
        return SampleFormat(found[0])
    raise _unsupported(
        f"SampleFormat {'+'.join(map(str, found[:16]))}", "1 (unsigned), 2 (signed) or 3 (float)"
    )


def _check_stored(stored: str, bits: int, sample_format: SampleFormat, *, planar: bool) -> None:
    if stored in STORED.get((sample_format, bits), ()) and (not planar or stored in IN_PLANES):
        return
    raise _unsupported(
        f"{_describe(stored)} of {bits} bits {_name(sample_format)}{' in planes' if planar else ''}",
        _list_bits(stored, planar=planar),
    )


def _describe(stored: str) -> str:
    """ "RGB with alpha" for "RGBA"."""
    base = next(base for base in COLOURS if stored.startswith(base))
    extra = ["alpha" if kind in "Aa" else "a sample without a known use" for kind in stored[len(base) :]]
    return " with ".join([COLOURS[base], *([" and ".join(extra)] if extra else [])])


def _list_bits(stored: str, *, planar: bool) -> str:
    """Which depths of the same samples are known, or else which samples."""
    known = [
        f"{bits} bits {_name(sample_format)}"
        for (sample_format, bits), kinds in STORED.items()
        if stored in kinds and (not planar or stored in IN_PLANES)
    ]
    if known:
        return f"{_describe(stored)} of " + ", ".join(known)
    if planar:
        return "in planes only RGB and CMYK of 8 and 16 bits"
    return (
        ", ".join(COLOURS.values()) + ", of these grey, palette and RGB with alpha, most of them with 8 bits"
    )


def _check_compression(
    page: Page,
    compression: Compression,
    photometric: Photometric,
    stored: str,
    bits: int,
    sample_format: SampleFormat,
) -> None:
    if compression in CCITT and (stored, bits) != ("L", 1):
        raise _unsupported(f"{_describe(stored)} of {bits} bits as facsimile", "black and white of 1 bit")
    if compression in JPEG and (stored not in IN_JPEG or bits != 8 or photometric == 0):
        raise _unsupported(
            f"{_describe(stored)} of {bits} bits as JPEG", "grey, RGB, CMYK or YCbCr of 8 bits"
        )
    predictor = page.number(Tag.PREDICTOR, 1)
    if compression not in WITH_PREDICTOR or predictor == 1:
        return
    allowed = PREDICTED_BITS.get(predictor, ())
    is_float = sample_format is SampleFormat.FLOAT
    if bits not in allowed or (predictor == 3) != is_float or stored == "YCbCr":
        raise _unsupported(
            f"Predictor {predictor} with {_describe(stored)} of {bits} bits {_name(sample_format)}",
            "2 with integers of 8, 16 or 32 bits and 3 with floats of 32 or 64",
        )


def _list_names(values: type[IntEnum]) -> str:
    return ", ".join(f"{int(value)} ({_name(value)})" for value in values)


def _name(value: IntEnum) -> str:
    return value.name.lower().replace("_", " ")


def _unsupported(found: str, allowed: str) -> ImageError:
    return ImageError(Reason.UNSUPPORTED_FORMAT, f"TIFF with {found}; Pictor reads {allowed}")
