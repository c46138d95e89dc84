"""Real photographs: pixels and embeddings against torchvision's reference way through Pillow."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from safetensors.torch import load_file
from torchvision.models import mobilenet_v2
from torchvision.transforms import functional as reference

from pipeline.decode import decode_image, decode_stored_colours
from pipeline.ports import Limits
from pipeline.prepare import decode_object
from pipeline.types import FetchedObject, ObjectRef, Preprocessing
from tests.conftest import missing

SPEC = Preprocessing(resize=256, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
SCALED_FROM_PX = 8 * SPEC.resize  # shorter side from which JPEG is scaled while it is decoded

Embed = Callable[[list[NDArray[np.uint8]]], torch.Tensor]


@pytest.fixture(scope="module")
def photographs(test_data: Path) -> list[bytes]:
    """Every twelfth photograph, and the largest."""
    paths = sorted((test_data / "photos").rglob("*.jpg"))
    if not paths:
        missing(f"no photographs at {test_data / 'photos'}")
    largest = sorted(paths, key=lambda path: path.stat().st_size)[-8:]
    return [path.read_bytes() for path in {*paths[::12], *largest}]


@pytest.fixture(scope="module")
def embed(test_data: Path) -> Embed:
    path = test_data / "weights" / "mobilenet_v2_tf_quant_imagenet.safetensors"
    if not path.is_file():
        missing(f"no weights at {path}")
    network = mobilenet_v2()
    network.load_state_dict(load_file(path), strict=True)
    network.classifier = torch.nn.Identity()
    network.eval()
    mean, std = torch.tensor(SPEC.mean)[:, None, None], torch.tensor(SPEC.std)[:, None, None]

    @torch.inference_mode()
    def embed(pixels: list[NDArray[np.uint8]]) -> torch.Tensor:
        normalised = (torch.from_numpy(np.stack(pixels)) / 255 - mean) / std
        return torch.nn.functional.normalize(network(normalised))

    return embed


def our_pixels(body: bytes) -> NDArray[np.uint8]:
    ref = ObjectRef(bucket="photos", key="a.jpg", etag="e", size_bytes=len(body))
    return decode_object(ref, FetchedObject(body=body), SPEC, Limits()).pixels


def reference_pixels(body: bytes) -> NDArray[np.uint8]:
    """Colours of an embedded profile become sRGB first, at full size."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(body))).convert("RGB")
    profile = image.info.get("icc_profile")
    if profile is not None:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        image = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    image = reference.center_crop(reference.resize(image, [SPEC.resize], antialias=True), [SPEC.crop] * 2)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def shorter_side(body: bytes) -> int:
    return min(Image.open(io.BytesIO(body)).size)


def cosines(bodies: list[bytes], embed: Embed) -> list[float]:
    ours = embed([our_pixels(body) for body in bodies])
    theirs = embed([reference_pixels(body) for body in bodies])
    return (ours * theirs).sum(1).tolist()


def test_pixels_of_photographs_are_the_reference_s_to_within_rounding(photographs: list[bytes]) -> None:
    whole = [body for body in photographs if shorter_side(body) < SCALED_FROM_PX and not is_converted(body)]
    differences = [np.abs(our_pixels(body).astype(int) - reference_pixels(body)) for body in whole]
    print(f"{len(whole)} photographs: mean {np.mean(differences):.4f}, max {np.max(differences)} of 255")
    assert len(whole) > 30
    assert np.max(differences) <= 2
    assert np.mean(differences) < 0.05


def is_converted(body: bytes) -> bool:
    stored = decode_stored_colours(body, limits=Limits(), target_px=SPEC.resize)
    return stored.conversion is not None


def test_photographs_with_a_profile_are_close_to_the_reference(test_data: Path, embed: Embed) -> None:
    """It converts at full size and then resizes; here it is the other way round, for a tenth of the cost."""
    bodies = [path.read_bytes() for path in sorted((test_data / "photos").rglob("*.jpg"))]
    converted = [body for body in bodies if is_converted(body)]
    differences = [np.abs(our_pixels(body).astype(int) - reference_pixels(body)).mean() for body in converted]
    found = cosines(converted, embed)
    print(f"{len(found)} of {len(bodies)} photographs are not in sRGB: cosine min {min(found):.5f}, mean "
          f"{np.mean(found):.5f}; pixels differ by {np.mean(differences):.3f} of 255")  # fmt: skip
    assert len(converted) > 20
    assert min(found) >= 0.995
    assert np.mean(found) >= 0.999
    assert np.mean(differences) < 1


def test_embeddings_of_photographs_are_the_reference_s(photographs: list[bytes], embed: Embed) -> None:
    found = cosines([body for body in photographs if not is_converted(body)], embed)
    print(f"{len(found)} photographs: cosine min {min(found):.5f}, mean {np.mean(found):.5f}")
    assert min(found) >= 0.999


def test_scaled_decoding_of_large_photographs_keeps_their_embeddings(
    photographs: list[bytes], embed: Embed
) -> None:
    """Enlarged to camera size, because the collection has few large ones; odd sizes, as those round worst."""
    bodies = []
    for body in sorted(photographs, key=shorter_side)[-12:]:
        image = Image.open(io.BytesIO(body))
        factor = 2731 / min(image.size)
        stream = io.BytesIO()
        size = round(image.width * factor), round(image.height * factor)
        image.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=92)
        bodies.append(stream.getvalue())
    decoded = decode_image(bodies[0], limits=Limits(), target_px=SPEC.resize)
    assert min(decoded.rgb.shape[:2]) < min(decoded.width, decoded.height) == 2731
    found = cosines(bodies, embed)
    print(f"{len(found)} enlarged: cosine min {min(found):.5f}, mean {np.mean(found):.5f}")
    assert min(found) >= 0.999


def test_large_photographs_in_other_formats_keep_their_embeddings(
    photographs: list[bytes], embed: Embed
) -> None:
    largest = max(photographs, key=shorter_side)
    image = Image.open(io.BytesIO(largest)).convert("RGB")
    expected = embed([reference_pixels(largest)])
    for format_name, options in {"PNG": {"compress_level": 1}, "TIFF": {}, "BMP": {}}.items():
        stream = io.BytesIO()
        image.save(stream, format_name, **options)
        found = embed([our_pixels(stream.getvalue())])
        assert float((found * expected).sum()) >= 0.999, format_name
