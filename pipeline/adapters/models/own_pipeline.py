"""Our preprocessing of a picture against the model's own: what settings do not say shows on pictures."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.models.probe_pictures import odd_picture, probe_pictures
from pipeline.errors import ModelError
from pipeline.image.preprocess import normalise, to_model_input
from pipeline.types import Pixels, Preprocessing

MIN_COSINE = 0.999  # between our input of a picture and theirs
Values = NDArray[np.float32]


def check_against_own(found: Preprocessing, own: Callable[[Pixels], Values], *, where: str) -> None:
    """Args:
        own: [H, W, 3] to what the model's library makes of it, normalised.
        where: begins the message. Names the model and what the library calls its pipeline.

    Raises:
        ModelError: the library makes another shape of a picture, or another picture.
    """
    for rgb in [*probe_pictures(), odd_picture(found)]:
        theirs, ours = own(rgb), normalise(to_model_input(rgb, found), found)
        if theirs.shape != ours.shape:
            raise ModelError(f"{where} makes {list(theirs.shape)} of a picture, not {list(ours.shape)}")
        if (cosine := _cosine(theirs, ours)) < MIN_COSINE:
            raise ModelError(
                f"{where} does what Pictor cannot repeat: the input of a picture has cosine {cosine:.4f} "
                f"to its own, under {MIN_COSINE}"
            )


def _cosine(one: Values, other: Values) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.vdot(one, other)) / lengths if lengths else float(not one.any() and not other.any())
