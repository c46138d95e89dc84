"""Which JPEGs go to the GPU, how they are put together, and that the CPU has the rest.

The decoder is the CPU's behind the same interface: what is not seen here is nvJPEG itself.
"""

import threading
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import pipeline.image.decode
from pipeline.capacity import Load
from pipeline.errors import ConfigError, ImageError
from pipeline.image.decode import decode_image, decode_on_gpu
from pipeline.image.decode.cuda_jpeg import BATCH_ITEMS, JpegBatcher, batcher_on
from pipeline.ingest.one_image import decode_object
from pipeline.ports import ImageLimits
from pipeline.settings import Settings
from pipeline.types import FetchedObject, ObjectRef, Preprocessing, Reason
from pipeline.wiring import concurrency_of
from tests.fleet import wait_until
from tests.image_files import encode

TARGET_PX = 64
SPEC = Preprocessing(resize=TARGET_PX, crop=56, mean=(0, 0, 0), std=(1, 1, 1))


class CpuBatches:
    """Stands in for nvJPEG, and notes what it was given."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.refused: bytes | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, bodies: Sequence[Tensor]) -> Sequence[Tensor]:
        self.sizes.append(len(bodies))
        assert self.may_go_on.wait(30)
        if any(bytes(body.numpy()) == self.refused for body in bodies):
            raise RuntimeError("nvjpegDecodeBatched failed at 0x7f")
        return [torch.ops.image.decode_jpeg(body, 3, False) for body in bodies]


def photo(seed: int = 0, *, height: int = 90, width: int = 120) -> NDArray[np.uint8]:
    cells = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), np.uint8)
    return cells.repeat(10, axis=0).repeat(10, axis=1)


def jpeg(seed: int = 0, **options: object) -> bytes:
    return encode(photo(seed), "JPEG", **options)


def on_gpu(body: bytes, decode_batch: CpuBatches, **limits: Any) -> NDArray[np.uint8] | None:
    found = decode_on_gpu(
        body,
        limits=ImageLimits(**limits),
        target_px=TARGET_PX,
        device="cuda:0",
        batcher=JpegBatcher(decode_batch),
    )
    if found is None:
        return None
    assert (found.height, found.width) == found.planes.shape[1:]
    planes: NDArray[np.uint8] = found.planes.numpy()
    return planes


def test_an_ordinary_jpeg_is_decoded_there() -> None:
    planes = on_gpu(jpeg(), CpuBatches())
    assert planes is not None
    expected = decode_image(jpeg(), limits=ImageLimits(), target_px=TARGET_PX).rgb
    np.testing.assert_array_equal(planes.transpose(1, 2, 0), expected)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(exif=exif)


@pytest.mark.parametrize(
    "body",
    [
        jpeg(progressive=True),
        encode(photo().mean(2).astype(np.uint8), "JPEG"),
        encode(Image.fromarray(photo()).convert("CMYK"), "JPEG"),
        encode(photo(), "PNG"),
        turned(),
        jpeg()[:-40],
        encode(photo(height=1100, width=1100), "JPEG"),
        b"",
        b"no image at all",
    ],
    ids=["progressive", "grey", "CMYK", "PNG", "turned", "cut", "large", "empty", "text"],
)
def test_anything_else_is_left_to_the_cpu(body: bytes) -> None:
    decode_batch = CpuBatches()
    try:
        assert on_gpu(body, decode_batch) is None
    except ImageError as err:
        assert err.reason in (Reason.EMPTY, Reason.NOT_AN_IMAGE)  # noqa: PT017 - either way is right
    assert decode_batch.sizes == []


def test_a_limit_is_a_limit_there_too() -> None:
    with pytest.raises(ImageError) as caught:
        on_gpu(jpeg(), CpuBatches(), max_px=1000)
    assert caught.value.reason is Reason.TOO_MANY_PIXELS


def decode_together(decode_batch: CpuBatches, items: int) -> dict[int, Tensor | None]:
    """What comes of so many pictures, by seed: all others wait while the first is being decoded."""
    decode_batch.may_go_on.clear()
    batcher = JpegBatcher(decode_batch)
    found: dict[int, Tensor | None] = {}

    def ask(seed: int) -> None:
        found[seed] = batcher.decode(jpeg(seed))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(items)]
    threads[0].start()
    wait_until(lambda: decode_batch.sizes == [1], "the first is being decoded")
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: batcher._waiting.qsize() == items - 1, "the others wait")
    decode_batch.may_go_on.set()
    for thread in threads:
        thread.join(30)
    return found


def test_what_waits_is_decoded_together_and_never_more_than_fits() -> None:
    decode_batch = CpuBatches()
    found = decode_together(decode_batch, BATCH_ITEMS + 6)
    assert decode_batch.sizes == [1, BATCH_ITEMS, 5]
    for seed, planes in found.items():
        assert planes is not None
        expected = torch.ops.image.decode_jpeg(
            torch.frombuffer(bytearray(jpeg(seed)), dtype=torch.uint8), 3, False
        )
        assert torch.equal(planes, expected)


def test_a_file_beyond_the_decoder_costs_its_batch_nothing() -> None:
    decode_batch = CpuBatches()
    decode_batch.refused = jpeg(2)
    found = decode_together(decode_batch, 4)
    assert {seed for seed, planes in found.items() if planes is None} == {2}
    assert decode_batch.sizes == [1, 3, 1, 1, 1]


def test_a_fault_of_its_own_reaches_who_asked_and_the_next_is_served() -> None:
    answers: Iterator[TypeError | Sequence[Tensor]] = iter([TypeError("not a list"), [torch.zeros(3, 1, 1)]])

    def decode_batch(_bodies: Sequence[Tensor]) -> Sequence[Tensor]:
        answer = next(answers)
        if isinstance(answer, TypeError):
            raise answer
        return answer

    batcher = JpegBatcher(decode_batch)
    with pytest.raises(TypeError, match="not a list"):
        batcher.decode(jpeg())
    assert batcher.decode(jpeg()) is not None


def prepared(body: bytes, jpeg_device: str) -> NDArray[np.uint8]:
    ref = ObjectRef(bucket="b", key="k", etag="e", size_bytes=len(body))
    outcome = decode_object(
        ref, FetchedObject(body=body, metadata={}), SPEC, ImageLimits(), jpeg_device=jpeg_device
    )
    assert (outcome.width, outcome.height) == (120, 90)
    return outcome.views[0].pixels


@pytest.mark.parametrize("refused", [False, True])
def test_an_image_becomes_the_same_input_wherever_it_is_decoded(
    refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_batch = CpuBatches()
    decode_batch.refused = jpeg() if refused else None
    batcher, asked = JpegBatcher(decode_batch), count()

    def batcher_of(device: str) -> JpegBatcher:
        assert device == "cuda:1"
        next(asked)
        return batcher

    monkeypatch.setattr(pipeline.image.decode, "batcher_on", batcher_of)
    there = prepared(jpeg(), "cuda:1")
    assert decode_batch.sizes == [1]
    np.testing.assert_array_equal(there, prepared(jpeg(), ""))
    assert next(asked) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_the_setting_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"PICTOR_JPEG_DECODER=cuda: cuda:0 is not there; use cpu"):
        batcher_on("cuda:0")


@pytest.mark.parametrize(
    ("decoder", "device", "expected"),
    [
        ("cpu", "cuda:1", ""),
        ("cuda", "cuda:1", "cuda:1"),
        ("cuda", "auto", "cuda:0"),
        ("cuda", "cpu", "cuda:0"),
    ],
)
def test_jpegs_are_decoded_beside_the_model(decoder: str, device: str, expected: str) -> None:
    settings = Settings.model_validate({"jpeg_decoder": decoder, "device": device})
    assert concurrency_of(settings, Load()).jpeg_device == expected
