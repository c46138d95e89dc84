"""What the training-free descriptor must not care about, and what it must."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.adapters.models.builtin_descriptor import BuiltinDescriptor
from pipeline.adapters.models.builtin_spec import BUILTIN_DIM, BUILTIN_PREPROCESSING
from pipeline.adapters.models.catalogue import load_embedder
from pipeline.ports import ImageEmbedder
from pipeline.types import Pixels

SIDE = BUILTIN_PREPROCESSING.crop
LAYOUT_START, SYMMETRIC_START = 471, 759  # 9·9·4 + 7·7·3 colours, then 8·6·6 of layout


@pytest.fixture(scope="module")
def builtin(tmp_path_factory: pytest.TempPathFactory) -> ImageEmbedder:
    return load_embedder("builtin", weights_dir=tmp_path_factory.mktemp("w"), device="cpu", group_items=8)


def draw_scene(seed: int) -> Image.Image:
    """Coloured shapes on a coloured ground: different at each side, as photographs are."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (320, 240), tuple(random.integers(60, 200, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, width, height = random.integers((0, 0, 20, 20), (280, 200, 120, 100)).tolist()
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape((x, y, x + width, y + height), fill=tuple(random.integers(0, 256, 3).tolist()))
    return image


def to_pixels(image: Image.Image) -> Pixels:
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)).transpose(2, 0, 1).copy()


def features_of(image: Image.Image) -> torch.Tensor:
    with torch.inference_mode():
        features: torch.Tensor = BuiltinDescriptor()(torch.from_numpy(to_pixels(image))[None] / 255)
    return features[0]


def recompress(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=15)
    return Image.open(buffer).convert("RGB")


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed": recompress,
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "cropped": lambda image: image.crop((32, 24, 288, 216)),
    "squeezed": lambda image: image.resize((128, 128)),
    "half size": lambda image: image.resize((160, 120)),
    "darker": lambda image: image.point(lambda value: value * 0.6),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_copy_is_nearer_to_its_original_than_any_other_image(
    builtin: ImageEmbedder, edit: str
) -> None:
    originals = [draw_scene(seed) for seed in range(24)]
    index = builtin.embed_images(np.stack([to_pixels(image) for image in originals]))
    queries = builtin.embed_images(np.stack([to_pixels(EDITS[edit](image)) for image in originals]))
    assert (queries @ index.T).argmax(1).tolist() == list(range(24))


def test_a_mirror_image_has_the_same_vector() -> None:
    scene = draw_scene(1)
    assert torch.allclose(features_of(scene), features_of(EDITS["mirrored"](scene)), atol=0.02)


def test_a_quarter_turn_changes_the_layout_part_and_no_other() -> None:
    scene = torch.from_numpy(to_pixels(draw_scene(2)))[None] / 255
    with torch.inference_mode():
        difference = (BuiltinDescriptor()(scene) - BuiltinDescriptor()(scene.rot90(1, (2, 3))))[0].abs()
    assert difference[:LAYOUT_START].max() < 1e-5
    assert difference[SYMMETRIC_START:].max() < 1e-5
    assert difference[LAYOUT_START:SYMMETRIC_START].max() > 0.01


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_an_image_of_one_colour_has_a_vector_of_unit_length(builtin: ImageEmbedder, level: int) -> None:
    vector = builtin.embed_images(np.full((1, 3, SIDE, SIDE), level, np.uint8))[0]
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_sensor_noise_on_a_flat_image_hardly_moves_its_vector(builtin: ImageEmbedder) -> None:
    flat = np.full((1, 3, SIDE, SIDE), 128, np.uint8)
    noise = np.random.default_rng(0).integers(0, 2, flat.shape, np.uint8)
    vectors: NDArray[np.float32] = builtin.embed_images(np.concatenate([flat, flat + noise]))
    assert vectors[0] @ vectors[1] > 0.9


def test_the_spec_says_what_comes_out(builtin: ImageEmbedder) -> None:
    vectors = builtin.embed_images(np.zeros((2, 3, SIDE, SIDE), np.uint8))
    assert vectors.shape == (2, BUILTIN_DIM) == (2, builtin.spec.dim)
    assert builtin.spec.name == builtin.spec.address == "builtin"


def test_the_vector_does_not_depend_on_the_neighbours_in_the_group(builtin: ImageEmbedder) -> None:
    block = np.stack([to_pixels(draw_scene(seed)) for seed in range(7)])
    alone = np.concatenate([builtin.embed_images(image[None]) for image in block])
    assert np.allclose(alone, builtin.embed_images(block), atol=1e-5)
