"""8-bit preprocessing against torchvision's own reference transforms."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.v2 import functional as on_tensors

from pipeline.image.preprocess import planes_to_model_input, to_model_input
from pipeline.types import Preprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def spec(resize: int, crop: int, *, interpolation: str = "bilinear", fit: str = "crop") -> Preprocessing:
    return Preprocessing(resize=resize, crop=crop, mean=MEAN, std=STD, interpolation=interpolation, fit=fit)


def noise(width: int, height: int) -> NDArray[np.uint8]:
    """Smooth enough that a shift shows as a small difference, lively enough that it does show."""
    generator = np.random.default_rng(width * 10_007 + height)
    coarse = generator.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).copy()


def reference_pixels(rgb: NDArray[np.uint8], wanted: Preprocessing) -> NDArray[np.uint8]:
    """What the published weights' own transforms do to a Pillow image, before normalising."""
    mode = InterpolationMode(wanted.interpolation)
    size = [wanted.resize] if wanted.fit == "crop" else [wanted.crop, wanted.crop]
    image = reference.resize(Image.fromarray(rgb), size, interpolation=mode, antialias=True)
    if wanted.fit == "crop":
        image = reference.center_crop(image, [wanted.crop, wanted.crop])
    return np.asarray(image).transpose(2, 0, 1)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("width", "height"),
    [(500, 375), (375, 500), (512, 512), (256, 256), (101, 99), (40, 31), (1999, 333), (1023, 1365)],
)
@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_the_result_is_the_reference_to_within_rounding(
    width: int, height: int, interpolation: str, fit: str
) -> None:
    wanted = spec(256, 224, interpolation=interpolation, fit=fit)
    pixels = to_model_input(noise(width, height), wanted)
    assert pixels.shape == (3, 224, 224)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    difference = np.abs(pixels.astype(int) - reference_pixels(noise(width, height), wanted))
    assert difference.max() <= 2
    assert difference.mean() < 0.1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("width", "height"), [(500, 375), (40, 31), (256, 256), (255, 300), (1, 5)])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_the_result_is_torchvision_s_own_of_tensors_bit_for_bit(
    width: int, height: int, interpolation: str, fit: str
) -> None:
    """A model's fingerprint stands for these pixels: they stay the same through all versions of Pictor."""
    planes = torch.from_numpy(noise(width, height)).permute(2, 0, 1)
    size = [256] if fit == "crop" else [224, 224]
    mode = InterpolationMode(interpolation)
    expected = on_tensors.center_crop(on_tensors.resize(planes, size, mode, antialias=True), [224, 224])
    for given in (planes, planes.contiguous()):
        pixels = planes_to_model_input(given, spec(256, 224, interpolation=interpolation, fit=fit))
        np.testing.assert_array_equal(pixels, expected.numpy())


@pytest.mark.parametrize(("resize", "crop"), [(257, 225), (232, 224), (224, 224), (300, 300)])
def test_odd_sizes_are_cut_where_the_reference_cuts(resize: int, crop: int) -> None:
    rgb = noise(500, 375)
    difference = np.abs(
        to_model_input(rgb, spec(resize, crop)).astype(int) - reference_pixels(rgb, spec(resize, crop))
    )
    assert difference.max() <= 2


def test_normalised_it_is_what_the_published_preset_makes() -> None:
    rgb = noise(500, 375)
    preset = ImageClassification(crop_size=224, resize_size=256, mean=MEAN, std=STD)
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    ours = (torch.from_numpy(to_model_input(rgb, spec(256, 224))) / 255 - mean) / std
    assert (ours - preset(Image.fromarray(rgb))).abs().max() < 2 / 255 / min(STD) + 1e-5


@pytest.mark.parametrize("shape", [(4, 65535), (65535, 4), (7, 3001), (100, 801)])
def test_a_strip_is_cut_before_it_is_enlarged(shape: tuple[int, int]) -> None:
    height, width = shape
    rgb = np.zeros((height, width, 3), dtype=np.uint8)
    long_side = max(shape)
    middle = slice(long_side // 2, None)  # the second half is white: the edge must stay in the middle
    rgb[middle if height > width else slice(None), middle if width > height else slice(None)] = 255
    pixels = to_model_input(rgb, spec(256, 224))
    assert pixels.shape == (3, 224, 224)
    line = pixels[0, :, 112] if height > width else pixels[0, 112]
    assert line[:45].max() == 0
    assert line[-45:].min() == 255


@pytest.mark.parametrize(("width", "height"), [(8 * 60 + 1, 60), (60, 900), (5001, 64)])
def test_a_strip_differs_from_the_reference_by_less_than_a_pixel_s_shift(width: int, height: int) -> None:
    rgb = noise(width, height)
    pixels = to_model_input(rgb, spec(256, 224)).astype(int)
    expected = reference_pixels(rgb, spec(256, 224)).astype(int)
    along = 2 if width > height else 1
    one_pixel = np.abs(np.diff(expected, axis=along)).mean()
    assert np.abs(pixels - expected).mean() < one_pixel


def test_the_input_is_left_as_it_was() -> None:
    rgb = noise(300, 200)
    before = rgb.copy()
    to_model_input(rgb, spec(256, 224))
    np.testing.assert_array_equal(rgb, before)
