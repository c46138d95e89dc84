"""The peak of memory of decoding one image, told from the header. The constants are measured.

A peak has two candidates: inside the decoder, and afterwards, when the decoded image stands beside the array
made from it. `tests/unit/test_decode_memory.py` builds images at the limit of each format and measures.
"""

from pipeline.errors import ImageError
from pipeline.image.decode.heif_pixels import HeifPixels
from pipeline.image.decode.opened_image import OpenedImage
from pipeline.image.decode.png_pixels import PngPixels
from pipeline.image.decode.tiff_header import Tag
from pipeline.image.decode.tiff_pixels import TiffPixels
from pipeline.ports import ImageLimits
from pipeline.types import Reason

# On photographs, embeddings of images reduced to 4 targets and then resized are within 0.001 (cosine) of
# those resized at once, and a 12 Mpx JPEG takes 33 ms instead of 55; 2 and 1 would cost up to 0.004 and 0.02.
OVERSAMPLING = (4, 2, 1)
FIXED_BYTES = 4 * 2**20  # strips, decoder tables, the allocator's remainders
_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}  # Pillow: else 4 a pixel
_WEBP_BYTES_PER_PX = 16.5  # two canvases, the frame as bytes, the image; lossless: its own frame first
_AVIF_BYTES_PER_PX = 17  # planes of 16-bit 4:4:4 and alpha, pixels, the same as bytes or as image
# Planes, pixels, and buffers between them: more for 4:4:4, for 10 bits and for alpha.
_HEIF_BYTES_PER_PX, _HEIF_444_BYTES, _HEIF_DEEP_BYTES, _HEIF_ALPHA_BYTES = 8, 4, 8, 4
_TIFF_UNIT_COPIES = 2  # one strip or tile: decompressed, and converted or in the codec
_WIDE_KEY_BYTES_PER_PX = 5  # the lower bytes of all samples, and the alpha made of them
RLE_BYTES_PER_PX, RLE_BYTES_PER_ROW = 2, 2  # a run of one pixel, and the end of a row
RLE_FREE_BYTES = 64 * 2**10  # of bytes that programs leave behind a picture
MAX_RLE_PX = 16_000_000  # run-length BMP is decoded in Python, 0.1 us a pixel with the GIL held


def choose_goal(opened: OpenedImage, limits: ImageLimits, target_px: int) -> int:
    """Judge the header, and say how small the image may be decoded. Nothing is allocated yet.

    Returns:
        The least shorter side that reduced reading may deliver, px: the target times the first of
        OVERSAMPLING that the budget allows.

    Raises:
        ImageError: too_small or too_many_pixels. Both values are in the detail.
    """
    width, height = opened.shown_size
    if min(width, height) < limits.min_side_px:
        raise ImageError(Reason.TOO_SMALL, f"{width}x{height}: a side is under {limits.min_side_px} px")
    if opened.frame_px > limits.max_px:
        raise ImageError(
            Reason.TOO_MANY_PIXELS,
            f"{width}x{height}, {opened.frame_px} px to decode, is over {limits.max_px} px",
        )
    if _codec(opened) == "bmp_rle":
        _check_run_lengths(opened)
    for goal_px in (times * target_px for times in OVERSAMPLING):
        needed = estimate_peak_bytes(opened, goal_px=goal_px)
        if needed <= limits.decode_budget_bytes:
            return goal_px
    raise ImageError(
        Reason.TOO_MANY_PIXELS,
        f"{width}x{height} {opened.format} needs about {needed} bytes, "
        f"over the {limits.decode_budget_bytes} that one image may take",
    )


def _check_run_lengths(opened: OpenedImage) -> None:
    """They are decoded in Python, one by one, also those that make no pixel."""
    width, height = opened.size
    if width * height > MAX_RLE_PX:
        raise ImageError(Reason.TOO_MANY_PIXELS, f"{width}x{height} of run lengths is over {MAX_RLE_PX} px")
    most = RLE_BYTES_PER_PX * width * height + RLE_BYTES_PER_ROW * height
    found = opened.body_bytes - opened.image.tile[0].offset
    if found > most + RLE_FREE_BYTES:
        raise ImageError(
            Reason.DECODE_ERROR, f"{found} bytes of run lengths for {width}x{height}, over {most}"
        )


def estimate_peak_bytes(opened: OpenedImage, *, goal_px: int) -> int:
    """Bytes above an idle process, the body's copies included."""
    width, height = _scaled_size(opened, goal_px)
    px = width * height
    stored = px * _STORED.get(opened.image.mode, 4)
    factor = max(1, min(width, height) // goal_px)
    array = (width // factor) * (height // factor) * 3
    decoding = stored + _decoder_bytes(opened, px) + array
    turning = 2 * array  # an upright copy. The decoder's buffers are gone by then
    return max(decoding, turning) + _copies_of_body(opened) * opened.body_bytes + FIXED_BYTES


def _copies_of_body(opened: OpenedImage) -> int:
    """The caller's array, and the copy that is made of it."""
    match opened.format:
        case "JPEG" if opened.jpeg is not None and not opened.jpeg.has_end_marker:
            return 3  # one with an end
        case "JPEG" | "WEBP":
            return 2
        case _:
            return 1


def _scaled_size(opened: OpenedImage, goal_px: int) -> tuple[int, int]:
    """The size that the decoder delivers. Only JPEG scales while it decodes, as `Image.draft` chooses."""
    width, height = opened.size
    if opened.jpeg is None or opened.jpeg.is_lossless:
        return width, height
    scale = next((s for s in (8, 4, 2) if min(width, height) // goal_px >= s), 1)
    return -(-width // scale), -(-height // scale)


def _decoder_bytes(opened: OpenedImage, px: int) -> int:
    """The bytes that the decoder holds beside the image it fills."""
    match opened.format:
        case "JPEG":
            return opened.jpeg.coefficient_bytes if opened.jpeg is not None else 0
        case "WEBP":
            return int(px * (_WEBP_BYTES_PER_PX - 4))
        case "HEIF":
            return _heif_decoder_bytes(opened, px)
        case "AVIF":
            return opened.frame_px * (_AVIF_BYTES_PER_PX - 4)
        case "BMP" if _codec(opened) == "bmp_rle":
            return px * 3  # a growing array, and the copy made of it
        case "TIFF":
            return _tiff_decoder_bytes(opened, px)
        case "PNG" if isinstance(opened.image, PngPixels) and opened.image.has_wide_key:
            return px * _WIDE_KEY_BYTES_PER_PX
        case _:
            return 0


def _heif_decoder_bytes(opened: OpenedImage, px: int) -> int:
    """All but the strips that are made of it: there is no second copy."""
    if not isinstance(opened.image, HeifPixels):
        return 0
    frames = opened.image.frames
    bytes_per_px = _HEIF_BYTES_PER_PX
    bytes_per_px += _HEIF_444_BYTES * frames.is_444 + _HEIF_DEEP_BYTES * frames.is_deep
    bytes_per_px += _HEIF_ALPHA_BYTES * ("A" in opened.image.mode or "a" in opened.image.mode)
    return opened.frame_px * bytes_per_px - px * _STORED.get(opened.image.mode, 4)


def _tiff_decoder_bytes(opened: OpenedImage, px: int) -> int:
    if not isinstance(opened.image, TiffPixels) or _codec(opened) != "libtiff":
        return 0
    page, variant = opened.image.page, opened.image.variant
    width, height = page.size
    if Tag.TILE_WIDTH in page.entries:  # a tile may be larger than its image
        unit_px = page.number(Tag.TILE_WIDTH, width) * page.number(Tag.TILE_HEIGHT, height)
    else:
        unit_px = min(px, width * page.number(Tag.ROWS_PER_STRIP, height))
    px_bytes = max(-(-variant.bits // 8) * variant.samples_in_unit, 4)
    # libtiff reads a strip as it is stored before it decodes it: all of the body, at worst.
    return unit_px * px_bytes * _TIFF_UNIT_COPIES + opened.body_bytes


def _codec(opened: OpenedImage) -> str:
    return opened.image.tile[0].codec_name if opened.image.tile else ""
