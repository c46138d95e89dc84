"""How many threads fit into the memory of a container. docs/how-to/operate.md has the table.

Threads follow from the memory, and the bounds of one image do not: an image that one worker takes must not be
refused by another one that is smaller.
"""

from dataclasses import dataclass

from pipeline.cgroup import Share
from pipeline.ports import ImageLimits
from pipeline.settings import Settings

MAIN_BYTES = 128 * 2**20  # the main process of a worker, or the planner beside the batches of one process
PROCESS_BYTES = 512 * 2**20  # measured: 460 MiB with torch, all clients and the builtin model
MODEL_BYTES = 512 * 2**20  # more with a trained model; measured: 370 MiB (ResNet-18), 510 (ResNet-50)
FINDER_BYTES = 64 * 2**20  # more with a detector; measured: 34 MiB (ONNX Runtime and YuNet)
# More for each image that is searched for faces: smaller copies, and what a detector of 640 px computes.
# Measured: 48 MiB for a small one, and 79 for one of 72 Mpx, whose pixels nearly fill the budget.
LOOK_BYTES = 96 * 2**20
USABLE = 7 / 8  # the rest is for the kernel, for freed memory that is not given back yet, and for a trial
MOST_FETCH_THREADS = 8  # more waiting for S3 at once makes nothing faster


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """The processes and batches that run side by side in a container."""

    processes: int = 1  # that decode
    batches: int = 1  # in all of these processes together
    is_trained: bool = False  # their model; the builtin one has no weights
    models_beside: int = 0  # trained ones that give each image a further embedding
    finds_views: bool = False  # with a detector, whether they embed or only prepare
    of_folder: bool = False  # all that they read lies in a folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Threads:
    """Of one batch."""

    fetch: int
    decode: int


def fit_threads(settings: Settings, limits: ImageLimits, share: Share, load: Load) -> Threads:
    """As many threads as the container has cores and memory for, and at least one of each.

    Args:
        settings: numbers of threads that are set there are taken as they are.
    """
    room_bytes = _room_bytes(share, load) // load.batches
    most_fetch = settings.fetch_threads or MOST_FETCH_THREADS
    if settings.decode_threads:
        decode = max(1, settings.decode_threads // load.batches)
    else:
        affordable = room_bytes // (_image_bytes(limits, load) + limits.max_object_bytes)
        decode = max(1, min(share.cores // load.batches, most_fetch, affordable))
    left_bytes = room_bytes - decode * _image_bytes(limits, load)
    fetch = settings.fetch_threads or max(1, min(most_fetch, left_bytes // limits.max_object_bytes))
    return Threads(fetch=fetch, decode=decode)


def needed_bytes(limits: ImageLimits, threads: Threads, load: Load) -> int:
    """The most memory that a container takes: every thread works on the largest image that is allowed."""
    of_batch = threads.decode * _image_bytes(limits, load) + threads.fetch * limits.max_object_bytes
    return _idle_bytes(load) + load.batches * of_batch


def _room_bytes(share: Share, load: Load) -> int:
    return max(0, int(share.memory_bytes * USABLE) - _idle_bytes(load))


def _image_bytes(limits: ImageLimits, load: Load) -> int:
    """Of one image while it is decoded and searched for views, without the bytes of its file."""
    return limits.decode_budget_bytes + LOOK_BYTES * load.finds_views


def _idle_bytes(load: Load) -> int:
    models = load.is_trained + load.models_beside
    of_process = PROCESS_BYTES + MODEL_BYTES * models + FINDER_BYTES * load.finds_views
    return MAIN_BYTES + load.processes * of_process
