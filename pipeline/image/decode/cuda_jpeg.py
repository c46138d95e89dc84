"""Ordinary JPEGs on a GPU. Many threads ask for one image each, and pending images are decoded together.

nvJPEG is fast on batches only, and it may be wrong where libjpeg is right. It fills up what a damaged file
lacks. So it gets baseline colour files that are whole, and the CPU decodes everything else.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

import pipeline.image.light_torchvision  # noqa: F401 - loads the native decoder that torch.ops.image names
from pipeline.errors import ConfigError
from pipeline.image.decode.jpeg_scans import END
from pipeline.image.decode.opened_image import OpenedImage
from pipeline.image.decode.profile import Conversion

BATCH_ITEMS = 32  # at most 8 Mpx each: 800 MB of the device at the worst, 20 MB with usual photographs
_RGB = 3  # torchvision.io.ImageReadMode.RGB

DecodeBatch = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanesImage:
    planes: Tensor  # uint8 [3, H, W], on the device that decoded it
    width: int  # px
    height: int
    conversion: Conversion | None = None  # of colours that are not sRGB yet


class JpegBatcher:
    """Decodes pending images together, and never waits for more. Safe to share between threads.

    Args:
        decode_batch: encoded files to [3, H, W] each. Raises RuntimeError, for all, when one is beyond it.
    """

    def __init__(self, decode_batch: DecodeBatch) -> None:
        self._decode_batch = decode_batch
        self._waiting: queue.SimpleQueue[tuple[Tensor, Future[Tensor | None]]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="jpeg-batches", daemon=True).start()

    def decode(self, body: bytes) -> Tensor | None:
        """[3, H, W], or None when this file is beyond the decoder."""
        decoded: Future[Tensor | None] = Future()
        self._waiting.put((torch.frombuffer(bytearray(body), dtype=torch.uint8), decoded))
        return decoded.result()

    def _work(self) -> None:
        while True:
            batch = [self._waiting.get()]
            while len(batch) < BATCH_ITEMS and not self._waiting.empty():
                batch.append(self._waiting.get())
            try:
                found = self._decode([body for body, _ in batch])
            except Exception as err:  # noqa: BLE001 - passed on; were this thread to die, all would wait for ever
                for _, decoded in batch:
                    decoded.set_exception(err)
                continue
            for (_, decoded), planes in zip(batch, found, strict=True):
                decoded.set_result(planes)

    def _decode(self, bodies: Sequence[Tensor]) -> Sequence[Tensor | None]:
        try:
            return self._decode_batch(bodies)
        except RuntimeError:
            if len(bodies) == 1:
                return [None]
            return [planes for body in bodies for planes in self._decode([body])]


@cache
def batcher_on(device: str) -> JpegBatcher:
    """The one batcher of this process on a device.

    Raises:
        ConfigError: there is no such GPU, or this torchvision decodes nothing on GPUs.
    """
    if not torch.cuda.is_available():
        raise ConfigError(f"PICTOR_JPEG_DECODER=cuda: {device} is not there; use cpu")
    try:
        decode_natively = torch.ops.image.decode_jpegs_cuda
    except AttributeError as err:
        raise ConfigError("PICTOR_JPEG_DECODER=cuda: this torchvision has no such decoder; use cpu") from err
    place = torch.device(device)
    return JpegBatcher(lambda bodies: decode_natively(list(bodies), _RGB, place))


def decode_ordinary(opened: OpenedImage, batcher: JpegBatcher, *, goal_px: int) -> PlanesImage | None:
    """None: not an ordinary JPEG, or beyond the decoder. The CPU is the one to ask."""
    jpeg = opened.jpeg
    if (
        jpeg is None
        or jpeg.buffered
        or jpeg.rare
        or opened.image.mode != "RGB"
        or min(opened.size) >= 2 * goal_px
    ):
        return None
    if not jpeg.stripped.endswith(END) or opened.read_orientation() != 1:
        return None
    planes = batcher.decode(jpeg.stripped)
    if planes is None:
        return None
    width, height = opened.size
    return PlanesImage(planes=planes, width=width, height=height, conversion=opened.find_conversion())
