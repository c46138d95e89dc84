"""Stages that need nothing but pictures: decoding by size, and the block that staged mode carries."""

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.photographs import Photograph, draw_jpeg
from benchmarks.synthetic import BUCKET, free_spec
from pipeline.image.decode import decode_image
from pipeline.image.preprocess import to_model_input
from pipeline.ingest.block import pack_block, unpack_block
from pipeline.ports import ImageLimits
from pipeline.types import EmbedBatch, ObjectRef, Prepared, PreparedBatch, View

SPEC = free_spec().preprocessing
LARGE_PX, LARGE_ITEMS = (
    (4032, 3024),
    4,
)  # of a telephone's camera; drawn, as no photograph at hand is so large
BLOCK_ITEMS = 256  # the default of PICTOR_BATCH_ITEMS

Stage = Callable[[], int]


def pixel_stages(photos: Sequence[Photograph], *, most: int) -> dict[str, Stage]:
    """Args: `most` is how many pictures of each size are decoded at most.

    Returns:
        By name, what does the work and returns of how many images.
    """
    stages = {
        f"decode and resize, {name}": _decoding([photo.body for photo in chosen[:most]])
        for name, chosen in _by_size(photos).items()
    }
    large = [draw_jpeg(*LARGE_PX, seed=seed) for seed in range(min(LARGE_ITEMS, most))]
    stages[f"decode and resize, {LARGE_PX[0]}x{LARGE_PX[1]}, drawn"] = _decoding(large)
    return stages | _block_stages(min(BLOCK_ITEMS, most))


def _by_size(photos: Sequence[Photograph]) -> dict[str, list[Photograph]]:
    """Classes that are empty are left out."""
    classes: dict[str, list[Photograph]] = {
        "512x512": [],
        "under 0.5 MP": [],
        "0.5 to 2 MP": [],
        "over 2 MP": [],
    }
    for photo in photos:
        classes[_size_class(photo)].append(photo)
    return {name: chosen for name, chosen in classes.items() if chosen}


def _size_class(photo: Photograph) -> str:
    megapixels = photo.width * photo.height / 1e6
    if (photo.width, photo.height) == (512, 512):
        return "512x512"
    if megapixels < 0.5:
        return "under 0.5 MP"
    return "0.5 to 2 MP" if megapixels < 2 else "over 2 MP"


def _decoding(bodies: Sequence[bytes]) -> Stage:
    limits = ImageLimits()

    def decode_all() -> int:
        for body in bodies:
            to_model_input(decode_image(body, limits=limits, target_px=SPEC.resize).rgb, SPEC)
        return len(bodies)

    return decode_all


def _block_stages(items: int) -> dict[str, Stage]:
    refs = [ObjectRef(bucket=BUCKET, key=f"{n}.jpg", etag="1", size_bytes=1) for n in range(items)]
    batch = EmbedBatch(
        job_id="bench",
        path="00000000",
        collection="images",
        fingerprint=free_spec().fingerprint,
        refs=tuple(refs),
    )
    pixels = np.random.default_rng(0).integers(0, 256, (items, 3, SPEC.crop, SPEC.crop), np.uint8)
    outcomes = tuple(
        Prepared(ref=ref, views=(View(pixels=image),), width=512, height=512)
        for ref, image in zip(refs, pixels, strict=True)
    )
    block = PreparedBatch(outcomes=outcomes, stored={})
    body = pack_block(batch, block)

    def pack() -> int:
        return len(pack_block(batch, block)) and items

    def unpack() -> int:
        return sum(1 for _ in unpack_block(batch, body).outcomes)

    return {"pack a block": pack, "unpack a block": unpack}
