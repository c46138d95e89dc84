"""What both networks of a face model do alone: the limit of a job, in one process and in one for each core.

A pipeline without any work of its own would run the networks on all cores at once. Cores that are busy share
caches, memory and the power of the machine, so the limit of a machine is measured with a process for each of
its cores at the same time. One process alone is stated beside it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np

from pipeline.adapters.models.catalogue import load_embedder, load_finder, load_spec
from pipeline.adapters.models.faces.finder import FaceFinder
from pipeline.adapters.models.faces.looks import make_small, plan_looks
from pipeline.image.decode import decode_image
from pipeline.ports import ImageEmbedder, ImageLimits
from pipeline.types import Pixels

ROUNDS = 3
WAIT_S = 600  # for the slowest process to load its networks, and to be done


@dataclass(frozen=True, kw_only=True, slots=True)
class Alone:
    """Of the processes together. Times are means of an image, in the best of the rounds."""

    images_per_s: float  # by the wall clock
    detector_cpu_s: float
    embedder_cpu_s: float
    faces: int  # of all images

    @property
    def cpu_s(self) -> float:
        return self.detector_cpu_s + self.embedder_cpu_s


def run_alone(model: Path, pictures: Sequence[Path], device: str, *, processes: int) -> Alone:
    """The same pictures in each process."""
    context = get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, initializer=_take_barrier, initargs=(barrier,)) as pool:
        work = [(model, pictures, device)] * processes
        found = pool.starmap_async(_run, work, chunksize=1).get(WAIT_S)
    return Alone(
        images_per_s=sum(one.images_per_s for one in found),
        detector_cpu_s=float(np.mean([one.detector_cpu_s for one in found])),
        embedder_cpu_s=float(np.mean([one.embedder_cpu_s for one in found])),
        faces=found[0].faces,
    )


_barriers: list[Barrier] = []  # of a process of the pool


def _take_barrier(barrier: Barrier) -> None:
    _barriers.append(barrier)


def _run(model: Path, pictures: Sequence[Path], device: str) -> Alone:
    spec = load_spec(str(model), weights_dir=model.parent)
    finder = load_finder(spec, weights_dir=model.parent)
    assert isinstance(finder, FaceFinder)
    embedder = load_embedder(str(model), weights_dir=model.parent, device=device, group_items=8, threads=1)
    looked_at, groups, faces = _inputs(finder, pictures)
    detector, embedding = _detector(finder, looked_at), _embedder(embedder, groups)
    detector(), embedding()  # the first run of each size makes its plan
    best = []
    for work in (detector, embedding):
        _barriers[0].wait(WAIT_S)  # all compute the same network at the same time
        best.append(_best_s(work))
    (wall_1, cpu_1), (wall_2, cpu_2) = best
    count = len(pictures)
    return Alone(
        images_per_s=count / (wall_1 + wall_2),
        detector_cpu_s=cpu_1 / count,
        embedder_cpu_s=cpu_2 / count,
        faces=faces,
    )


def _inputs(finder: FaceFinder, pictures: Sequence[Path]) -> tuple[list[Pixels], list[Pixels], int]:
    """What the detector looks at, the groups that the embedder gets, and the number of faces."""
    looked_at, crops = [], []
    for path in pictures:
        rgb = decode_image(path.read_bytes(), limits=ImageLimits(), target_px=finder.min_side_px).rgb
        settings = finder.settings
        for look in plan_looks(
            rgb.shape[1], rgb.shape[0], side_px=settings.side_px, min_face_px=settings.min_face_px
        ):
            small = make_small(rgb, look.width, look.height)
            looked_at += [small[tile.top : tile.bottom, tile.left : tile.right] for tile in look.tiles]
        crops += [view.pixels for view in finder.find_views(rgb)]
    groups = [np.stack(crops[start : start + 8]) for start in range(0, len(crops), 8)]
    return looked_at, groups, len(crops)


def _detector(finder: FaceFinder, looked_at: Sequence[Pixels]) -> Callable[[], None]:
    def run() -> None:
        for part in looked_at:
            finder.detector.look(part)

    return run


def _embedder(embedder: ImageEmbedder, groups: Sequence[Pixels]) -> Callable[[], None]:
    def run() -> None:
        for group in groups:
            embedder.embed_images(group)

    return run


def _best_s(work: Callable[[], None]) -> tuple[float, float]:
    """By the wall clock, and of processor time."""
    found = []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(wall for wall, _ in found), min(cpu for _, cpu in found)
