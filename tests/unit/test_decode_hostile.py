"""Files that are cut short, lie in their header, are no image or are odd: decoded or refused for a reason."""

import pytest

from pipeline.errors import ImageError
from pipeline.image.decode import DecodedImage, decode_image
from pipeline.ports import ImageLimits
from tests.hostile_files import HostileFile, make_hostile_files

FILES = list(make_hostile_files())


def outcome(body: bytes) -> DecodedImage | ImageError:
    try:
        return decode_image(body, limits=ImageLimits(), target_px=256)
    except ImageError as error:
        return error


@pytest.mark.parametrize("file", [pytest.param(file, id=file.name) for file in FILES if not file.reasons])
def test_an_odd_file_is_decoded_and_keeps_its_size(file: HostileFile) -> None:
    image = outcome(file.body)
    assert isinstance(image, DecodedImage), image
    assert (image.width, image.height) == file.size_px


@pytest.mark.parametrize("file", [pytest.param(file, id=file.name) for file in FILES if file.reasons])
def test_a_bad_file_is_refused_with_its_reason_and_words(file: HostileFile) -> None:
    error = outcome(file.body)
    assert isinstance(error, ImageError)
    assert error.reason in file.reasons
    assert error.detail
