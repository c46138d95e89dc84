"""OpenVINO, imported without its converter. Nothing else in Pictor imports OpenVINO.

OpenVINO 2026.4 imports its converter for one function that Pictor never calls. The converter reports each
import to Google Analytics, without asking, and keeps an id of the user in `~/intel`. It doubles the time.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CONVERTER = "openvino.tools.ovc"


@contextmanager
def _without_converter() -> Iterator[None]:
    if _CONVERTER in sys.modules:
        yield
        return
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]  # its import fails, which openvino expects
    try:
        yield
    finally:
        del sys.modules[_CONVERTER]


with _without_converter():
    from openvino import Core as Core
