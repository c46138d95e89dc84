"""Decoding and resizing alone, with Pictor's own functions: the other half of the computed limit.

On one thread it tells the core-seconds of an image; on `--threads` of them, what the whole machine can do; on
a CUDA device, what that device's decoder can do with the same bytes (without resizing, which is cheap there).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torchvision

from benchmarks.contestants.clock import Clock, list_photos, parser_of, print_result
from pipeline.image.decode import decode_image
from pipeline.image.preprocess import to_model_input
from pipeline.ports import ImageLimits
from pipeline.types import Preprocessing

SPEC = Preprocessing(resize=256, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
CUDA_GROUP_ITEMS = 128  # what the device decodes at once; more gained nothing in published measurements


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    bodies = [Path(path).read_bytes() for path in list_photos(options.photos)]
    decode_all = (
        _on_cuda(options.device) if options.device.startswith("cuda") else _on_threads(options.threads)
    )
    decode_all(bodies[:CUDA_GROUP_ITEMS])  # loads and plans what the first image pays for
    clock = Clock()
    decode_all(bodies)
    print_result(clock.stop(len(bodies)))


def _on_threads(threads: int) -> Callable[[Sequence[bytes]], None]:
    torch.set_num_threads(1)  # the threads are over images, not within one

    def decode_all(bodies: Sequence[bytes]) -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(_decode, bodies):
                pass

    return decode_all


def _decode(body: bytes) -> None:
    to_model_input(decode_image(body, limits=ImageLimits(), target_px=SPEC.resize).rgb, SPEC)


def _on_cuda(device: str) -> Callable[[Sequence[bytes]], None]:
    def decode_all(bodies: Sequence[bytes]) -> None:
        for start in range(0, len(bodies), CUDA_GROUP_ITEMS):
            group = [
                torch.frombuffer(bytearray(body), dtype=torch.uint8)
                for body in bodies[start : start + CUDA_GROUP_ITEMS]
            ]
            torchvision.io.decode_jpeg(group, mode=torchvision.io.ImageReadMode.RGB, device=device)
        torch.cuda.synchronize()

    return decode_all


if __name__ == "__main__":
    main()
