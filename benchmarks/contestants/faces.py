"""The two halves of a face model alone: no pipeline around them can be faster than the slower one.

`--half find` decodes pictures, finds their faces and cuts them out, on as many threads as are given. `--half
embed` embeds the faces of all pictures, which lie ready, on the device. Both tell the rate in pictures.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.contestants.clock import Clock, Clocked, list_photos, parser_of, print_result
from pipeline import wiring
from pipeline.image.decode import decode_image
from pipeline.ports import ImageEmbedder, ImageLimits, ViewFinder
from pipeline.settings import Settings
from pipeline.types import Pixels

FACES_IN_MEMORY = 20_000  # crops of 112 px: 0.75 GB


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--half", choices=("find", "embed"), required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1, help="of the faces, for the embedder")
    options = parser.parse_args()
    settings = Settings.from_env()
    embedder = wiring.load_model(
        str(options.weights.with_suffix(".toml")),
        settings,
        precision=settings.precision,
        batches=settings.batch_threads,
    )
    finder = wiring.finder_of(embedder.spec, settings)
    assert finder is not None, "a face model has one"
    bodies = [Path(path).read_bytes() for path in list_photos(options.photos)]
    torch.set_num_threads(1)  # the threads are over pictures, not within one
    if options.half == "find":
        print_result(_find(finder, bodies, options.threads))
    else:
        found = _crops(finder, bodies, options.threads)
        print_result(_embed(embedder, found, settings.group_items, options.repeats))


def _find(finder: ViewFinder, bodies: Sequence[bytes], threads: int) -> Clocked:
    _crops(finder, bodies[:threads], threads)  # loads what the first picture pays for
    clock = Clock()
    _crops(finder, bodies, threads)
    return clock.stop(len(bodies))


def _crops(finder: ViewFinder, bodies: Sequence[bytes], threads: int) -> list[list[Pixels]]:
    """The faces of each picture."""
    find = _finding(finder)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(find, bodies))


def _finding(finder: ViewFinder) -> Callable[[bytes], list[Pixels]]:
    def find(body: bytes) -> list[Pixels]:
        image = decode_image(body, limits=ImageLimits(), target_px=finder.min_side_px)
        return [view.pixels for view in finder.find_views(image.rgb)]

    return find


def _embed(
    embedder: ImageEmbedder, found: Sequence[Sequence[Pixels]], group_items: int, repeats: int
) -> Clocked:
    pictures, faces = 0, list[Pixels]()
    for of_one in found:
        if len(faces) + len(of_one) > FACES_IN_MEMORY:
            break
        pictures += 1
        faces += of_one
    if not faces:
        raise RuntimeError("no face was found in any picture")
    ready = np.stack(faces)
    _embed_all(embedder, ready[:group_items], group_items)  # the first pass plans the others
    clock = Clock()
    for _ in range(repeats):
        _embed_all(embedder, ready, group_items)
    return clock.stop(pictures * repeats)


def _embed_all(embedder: ImageEmbedder, faces: NDArray[np.uint8], group_items: int) -> None:
    groups = [faces[start : start + group_items] for start in range(0, len(faces), group_items)]
    with ThreadPoolExecutor(2) as pool:  # as the two batches of a job: one copies while another computes
        for _ in pool.map(embedder.embed_images, groups):
            pass


if __name__ == "__main__":
    main()
