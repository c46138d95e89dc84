"""How good the pictures of queries are, measured on the way to the model."""

from collections.abc import Generator, Iterable, Mapping

from pipeline.image.quality import brightness, grey_of, sharpness
from pipeline.types import FacePlace, IndexRow, ObjectRef, Prepared, ProbeQuality, Rejected
from pipeline.types.views import METADATA_PREFIX

DIGITS = 1


class QualityMeter:
    """Of one call. References are told apart by their identity: one image may be asked for twice."""

    def __init__(self) -> None:
        self._found: dict[int, ProbeQuality] = {}

    def through(self, prepared: Iterable[Prepared | Rejected]) -> Generator[Prepared | Rejected]:
        """The same pictures, measured. A face knows its quality already, and is not looked at."""
        for one in prepared:
            if isinstance(one, Prepared):
                self._found[id(one.ref)] = _measured(one)
            yield one

    def of(self, ref: ObjectRef) -> ProbeQuality | None:
        """None where the picture did not get as far as the model."""
        return self._found.get(id(ref))


def _measured(image: Prepared) -> ProbeQuality:
    if not image.views or image.views[0].box is not None:
        return ProbeQuality(width_px=image.width, height_px=image.height)
    grey = grey_of(image.views[0].pixels)
    return ProbeQuality(
        width_px=image.width,
        height_px=image.height,
        sharpness=round(sharpness(grey), DIGITS),
        brightness=round(brightness(grey), DIGITS),
    )


def quality_of_face(place: FacePlace, metadata: Mapping[str, str]) -> ProbeQuality:
    """As the row of a face knows it."""
    return ProbeQuality(
        width_px=place.box.width,
        height_px=place.box.height,
        sharpness=_number(metadata, "sharpness"),
        brightness=_number(metadata, "brightness"),
    )


def quality_of_row(row: IndexRow) -> ProbeQuality:
    """Of a whole picture. The index knows its size, and nobody reads the picture again for the rest."""
    return ProbeQuality(width_px=row.width, height_px=row.height)


def _number(metadata: Mapping[str, str], name: str) -> float | None:
    try:
        return float(metadata[f"{METADATA_PREFIX}{name}"])
    except (KeyError, ValueError):  # of another program
        return None
