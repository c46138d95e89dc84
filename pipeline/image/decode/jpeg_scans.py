"""Where the picture of a JPEG ends, and how many scans it has.

Phones append whole pictures and films to a JPEG, so nothing behind the picture's own end marker counts. Some
programs forget that marker: the picture is then as whole as its last scan.
"""

import re
from dataclasses import dataclass

from pipeline.errors import ImageError
from pipeline.image.decode.work import Work
from pipeline.types import Reason

_SCAN_STEPS = 8  # the coefficients of a scan are noted one by one
MAX_COMPONENTS = 4  # of one scan, as the standard says; a decoder refuses more
MAX_MARKERS = 65_536  # tables and comments between scans; encoders write a few for each scan

# Within a scan FF is followed by 00 or a restart number; FF before FF is fill.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_SOI, _EOI, _SOS, _TEM = 0xD8, 0xD9, 0xDA, 0x01
END = b"\xff\xd9"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scans:
    count: int
    end: int  # offset behind the end marker, or behind the last byte of the picture where that is missing
    has_end_marker: bool
    is_complete: bool  # every component's every coefficient was brought to its last bit


def find_scans(body: bytes, first_scan: int, component_ids: bytes, work: Work) -> Scans:
    """Walk from the first scan to the end of the picture.

    Args:
        first_scan: offset of the first SOS marker.

    Raises:
        ImageError: decode_error, for more than MAX_MARKERS markers.
    """
    at, count, scan_end = first_scan, 0, first_scan
    missing = {(component, number) for component in component_ids for number in range(64)}
    for _ in range(MAX_MARKERS):
        work.step()
        marker = body[at + 1]
        if marker in (_SOI, _EOI):
            has_end = marker == _EOI
            return Scans(count=count, end=at + 2 * has_end, has_end_marker=has_end, is_complete=not missing)
        segment_end = at + 2
        if marker != _TEM:
            segment_end += int.from_bytes(body[at + 2 : at + 4], "big")
        if marker == _SOS:
            count += 1
            work.step(_SCAN_STEPS)
            missing -= _finished_by(body[at + 4 : segment_end])
        found = _MARKER.search(body, segment_end)
        if found is None and marker == _SOS:
            scan_end = len(body.rstrip(b"\xff"))  # half a marker at the end is no data
        if found is None:
            return Scans(count=count, end=scan_end, has_end_marker=False, is_complete=not missing)
        at = found.start()
        scan_end = at if marker == _SOS else scan_end
    raise ImageError(Reason.DECODE_ERROR, f"more than {MAX_MARKERS} markers in one JPEG")


def _finished_by(scan: bytes) -> set[tuple[int, int]]:
    """Component and number of each coefficient that a scan brings to its last bit."""
    components = scan[0] if scan else 0
    if components > MAX_COMPONENTS:
        return set()
    spectrum = scan[1 + 2 * components : 4 + 2 * components]
    if len(spectrum) < 3 or spectrum[2] & 15:  # bits below this position are still to come
        return set()
    first, last = spectrum[0], min(spectrum[1], 63)
    return {(scan[1 + 2 * n], number) for n in range(components) for number in range(first, last + 1)}
