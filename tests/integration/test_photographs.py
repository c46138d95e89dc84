"""Photographs: pixels and embeddings against torchvision's reference way through Pillow."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from safetensors.torch import load_file
from torchvision.models import mobilenet_v2, squeezenet1_1
from torchvision.transforms import functional as reference

from pipeline.image.decode import decode_image, decode_stored_colours
from pipeline.ingest.one_image import decode_object
from pipeline.ports import ImageLimits
from pipeline.types import FetchedObject, ObjectRef, Preprocessing
from tests.sample_data import photograph_sets

SPEC = Preprocessing(resize=256, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
SCALED_FROM_PX = 8 * SPEC.resize  # shorter side from which JPEG is scaled while it is decoded

Embed = Callable[[list[NDArray[np.uint8]]], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Photographs, a network to see them with, and how near its two answers for one picture must be."""

    photographs: list[bytes]
    embed: Embed
    least_cosine: float


@pytest.fixture(scope="module")
def shipped() -> Sample:
    """The shipped pictures with a network that nobody trained."""
    paths = sorted(photograph_sets()["shipped"].rglob("*.jpg"))
    # Whatever such a network sees looks much alike to it: see the test of the faults that it does see.
    return Sample(photographs=[path.read_bytes() for path in paths], embed=untrained(), least_cosine=0.9999)


@pytest.fixture(scope="module")
def large(large_data: Path) -> Sample:
    """Every twelfth photograph, and the largest, with trained weights."""
    paths = sorted((large_data / "photos").rglob("*.jpg"))
    largest = sorted(paths, key=lambda path: path.stat().st_size)[-8:]
    return Sample(
        photographs=[path.read_bytes() for path in {*paths[::12], *largest}],
        embed=trained(large_data / "weights" / "mobilenet_v2_tf_quant_imagenet.safetensors"),
        least_cosine=0.999,
    )


@pytest.fixture(scope="module", params=["shipped", pytest.param("large", marks=pytest.mark.large_sets)])
def sample(request: pytest.FixtureRequest) -> Sample:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Sample)
    return found


@pytest.fixture
def photographs(sample: Sample) -> list[bytes]:
    return sample.photographs


def untrained() -> Embed:
    torch.manual_seed(4)
    features = squeezenet1_1().features
    return embedding(torch.nn.Sequential(features, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()))


def trained(path: Path) -> Embed:
    network = mobilenet_v2()
    network.load_state_dict(load_file(path), strict=True)
    network.classifier = torch.nn.Identity()
    return embedding(network)


def embedding(network: torch.nn.Module) -> Embed:
    network.eval()
    mean, std = torch.tensor(SPEC.mean)[:, None, None], torch.tensor(SPEC.std)[:, None, None]

    @torch.inference_mode()
    def embed(pixels: list[NDArray[np.uint8]]) -> torch.Tensor:
        normalised = (torch.from_numpy(np.stack(pixels)) / 255 - mean) / std
        return torch.nn.functional.normalize(network(normalised))

    return embed


def our_pixels(body: bytes) -> NDArray[np.uint8]:
    ref = ObjectRef(bucket="photos", key="a.jpg", etag="e", size_bytes=len(body))
    return decode_object(ref, FetchedObject(body=body), SPEC, ImageLimits()).views[0].pixels


def is_converted(body: bytes) -> bool:
    stored = decode_stored_colours(body, limits=ImageLimits(), target_px=SPEC.resize)
    return stored.conversion is not None


def reference_pixels(body: bytes) -> NDArray[np.uint8]:
    """Colours of an embedded profile become sRGB first, at full size."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(body))).convert("RGB")
    profile = image.info.get("icc_profile")
    if profile is not None:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        to_srgb = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
        image = to_srgb.apply(image)
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


@pytest.mark.large_sets
def test_photographs_with_a_profile_are_close_to_the_reference(large: Sample, large_data: Path) -> None:
    """It converts at full size and then resizes; here it is the other way round, for a tenth of the cost."""
    bodies = [path.read_bytes() for path in sorted((large_data / "photos").rglob("*.jpg"))]
    converted = [body for body in bodies if is_converted(body)]
    differences = [np.abs(our_pixels(body).astype(int) - reference_pixels(body)).mean() for body in converted]
    found = cosines(converted, large.embed)
    print(f"{len(found)} of {len(bodies)} photographs are not in sRGB: cosine min {min(found):.5f}, mean "
          f"{np.mean(found):.5f}; pixels differ by {np.mean(differences):.3f} of 255")  # fmt: skip
    assert len(converted) > 20
    assert min(found) >= 0.995
    assert np.mean(found) >= 0.999
    assert np.mean(differences) < 1


def test_embeddings_of_photographs_are_the_reference_s(sample: Sample) -> None:
    found = cosines([body for body in sample.photographs if not is_converted(body)], sample.embed)
    print(f"{len(found)} photographs: cosine min {min(found):.5f}, mean {np.mean(found):.5f}")
    assert min(found) >= sample.least_cosine


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda pixels: pixels[::-1], id="colours exchanged"),
        pytest.param(lambda pixels: pixels[:, :, ::-1], id="mirrored"),
        pytest.param(lambda pixels: np.roll(pixels, 2, axis=2), id="cropped two pixels aside"),
    ],
)
def test_a_fault_of_the_pixels_would_be_seen(
    shipped: Sample, fault: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> None:
    """Else the comparison of embeddings would show nothing."""
    right = [reference_pixels(body) for body in shipped.photographs[:12]]
    wrong = [np.ascontiguousarray(fault(pixels)) for pixels in right]
    assert float((shipped.embed(right) * shipped.embed(wrong)).sum(1).min()) < shipped.least_cosine


def test_scaled_decoding_of_large_photographs_keeps_their_embeddings(sample: Sample) -> None:
    """Enlarged to camera size, because the collection has few large ones; odd sizes, as those round worst."""
    bodies = []
    for body in sorted(sample.photographs, key=shorter_side)[-12:]:
        image = Image.open(io.BytesIO(body))
        factor = 2731 / min(image.size)
        stream = io.BytesIO()
        size = round(image.width * factor), round(image.height * factor)
        image.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=92)
        bodies.append(stream.getvalue())
    decoded = decode_image(bodies[0], limits=ImageLimits(), target_px=SPEC.resize)
    assert min(decoded.rgb.shape[:2]) < min(decoded.width, decoded.height) == 2731
    found = cosines(bodies, sample.embed)
    print(f"{len(found)} enlarged: cosine min {min(found):.5f}, mean {np.mean(found):.5f}")
    assert min(found) >= sample.least_cosine


def test_large_photographs_in_other_formats_keep_their_embeddings(sample: Sample) -> None:
    largest = max(sample.photographs, key=shorter_side)
    image = Image.open(io.BytesIO(largest)).convert("RGB")
    expected = sample.embed([reference_pixels(largest)])
    for format_name, options in {"PNG": {"compress_level": 1}, "TIFF": {}, "BMP": {}}.items():
        stream = io.BytesIO()
        image.save(stream, format_name, **options)
        found = sample.embed([our_pixels(stream.getvalue())])
        assert float((found * expected).sum()) >= sample.least_cosine, format_name
