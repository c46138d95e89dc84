"""Runs a feature module on a CPU or a GPU. See `ports.ImageEmbedder`."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.adapters.models.passes import PASSES
from pipeline.errors import ConfigError, FatalError, ModelError, TransientError
from pipeline.types import ModelSpec

DEVICE = re.compile(r"cpu|cuda(?::(\d{1,3}))?")
# Images that a CPU computes at once. More fall out of its caches between layers. ResNet-18 on two
# cores does 124 images/s in groups of 8, 106 in groups of 32 and 97 in groups of 64.
CPU_PASS_ITEMS = 8


def do_nothing() -> None:
    """Before a pass that waits for nobody."""


def pick_device(name: str) -> torch.device:
    """`auto` is the first GPU, or the CPU where there is none.

    Raises:
        ConfigError: the name is none of auto, cpu, cuda:N, or this machine has no such GPU.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    match = DEVICE.fullmatch(name)
    if match is None:
        raise ConfigError(f"device {name!r} is none of auto, cpu, cuda:N")
    if name == "cpu":
        return torch.device("cpu")
    number, gpus = int(match[1] or 0), torch.cuda.device_count()
    if number >= gpus:
        raise ConfigError(f"device {name}: this machine shows {gpus} CUDA devices; use auto or cpu")
    return torch.device("cuda", number)


def share_cores(device: torch.device, *, threads: int, batches: int, group_items: int) -> tuple[int, int]:
    """How many forward passes at once, and CPU threads of each.

    On a CPU as many as there can be groups under way, since passes side by side beat one pass on all cores;
    on a GPU one for each batch, to copy while another computes.

    Args:
        threads: that this process has for forward passes.
        batches: at once in this process; 0 for single queries, each of which waits for its one pass.
        group_items: images given to the device at once.
    """
    if device.type == "cuda" or not batches:
        return max(1, batches), threads
    passes = min(threads, batches * -(-group_items // CPU_PASS_ITEMS))
    return passes, threads // passes


class TorchEmbedder:
    """Owns a module on a device. Safe to share between threads.

    Args:
        module: on the device; [N, 3, S, S] of normalised `dtype` to [N, D] features. A module of torch, or a
            network that another backend runs.
        backend: that runs it. `device` names it, unless it is torch.
        memory_format: of the images that it is given.
        group_items: images per forward pass, on a CPU at most `CPU_PASS_ITEMS`; lowered for good when the
            device runs out of memory.
        passes: forward passes at once, by as many threads, which share the groups of all calls. On a GPU
            each has a stream of its own, so that one copies while another computes; on a CPU single-threaded
            passes side by side are faster than one after the other on all cores, which wait for each other
            at the end of every layer.
        pass_threads: CPU threads of each pass. By default as torch has it.
        before_pass: called before each pass by the thread that makes it, which it may hold up.
        pad_groups: fill the last group up, so that the device sees one shape for ever and plans once.
            Default: on a GPU. On a CPU padding only costs time.
    """

    def __init__(
        self,
        module: Callable[[Tensor], Tensor],
        spec: ModelSpec,
        *,
        device: torch.device,
        group_items: int,
        backend: str = "torch",
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.channels_last,
        passes: int = 1,
        pass_threads: int = 0,
        before_pass: Callable[[], None] = do_nothing,
        pad_groups: bool | None = None,
    ) -> None:
        if group_items < 1:
            raise ConfigError(f"group_items is {group_items}, it must be at least 1")
        self.spec = spec
        self.device = str(device) if backend == "torch" else f"{device} ({backend})"
        self.group_items = group_items if device.type == "cuda" else min(group_items, CPU_PASS_ITEMS)
        self._device = device
        self._dtype = dtype
        self._memory_format = memory_format
        self._pad_groups = device.type == "cuda" if pad_groups is None else pad_groups
        self._lock = threading.Lock()
        self._passes = ThreadPoolExecutor(
            passes, thread_name_prefix="device", initializer=take_threads, initargs=(pass_threads,)
        )
        self._before_pass = before_pass
        self._lane = threading.local()
        self._module = module
        self._mean = _per_channel(spec.preprocessing.mean, device)
        self._std = _per_channel(spec.preprocessing.std, device)

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `ports.ImageEmbedder`.

        Raises:
            ValueError: not uint8 [N, 3, S, S].
            TransientError: the device has no memory left for a single image.
            FatalError: the device failed. This process cannot use it any more.
        """
        check_pixels(pixels, self.spec)
        group_items = self.group_items
        starts = range(0, len(pixels), group_items)
        groups = [pixels[start : start + group_items] for start in starts]
        return np.concatenate(
            [np.empty((0, self.spec.dim), np.float32), *self._passes.map(self._embed_in_lane, groups)]
        )

    def _embed_in_lane(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._before_pass()
        with self._open_lane():
            return np.concatenate(list(self._embed_groups(pixels)))

    def _open_lane(self) -> AbstractContextManager[object]:
        """This thread's own stream of the GPU. A CPU has none."""
        if self._device.type != "cuda":
            return nullcontext()
        if not hasattr(self._lane, "stream"):
            self._lane.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        lane: AbstractContextManager[object] = torch.cuda.stream(self._lane.stream)
        return lane

    def _embed_groups(self, pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
        start = 0
        while start < len(pixels):
            group_items = self.group_items  # another thread may lower it meanwhile
            group = pixels[start : start + group_items]
            rows = self._embed_group(group, group_items)
            if rows is None:
                self._lower_group_items(group_items)
            else:
                yield rows
                start += len(group)

    def _embed_group(self, group: NDArray[np.uint8], padded_items: int) -> NDArray[np.float32] | None:
        """None: out of memory. A value and not an exception, whose traceback would keep the tensors alive."""
        try:
            with PASSES.one(), torch.inference_mode():
                features = self._module(self._to_input(group, padded_items))[: len(group)]
                rows: NDArray[np.float32] = _to_unit_rows(features).cpu().numpy()
                return rows
        except torch.OutOfMemoryError:
            return None
        except (RuntimeError, ModelError) as err:
            # A CUDA context does not recover from a fault: every later call would fail the same way.
            raise FatalError(
                f"{self.spec.name} failed on {self._device} in a forward pass of {len(group)} images"
            ) from err

    def _to_input(self, group: NDArray[np.uint8], padded_items: int) -> Tensor:
        """Move bytes, a quarter of the floats, and normalise there."""
        # require: from_numpy takes no read-only array; a decoded block often is one.
        block = torch.from_numpy(np.require(group, requirements=["C", "W"]))
        if self._device.type == "cuda":
            # From pinned memory the copy is the device's own work, and other lanes compute meanwhile.
            block = block.pin_memory().to(self._device, non_blocking=True)
        if self._pad_groups and len(block) < padded_items:
            padding = block.new_zeros((padded_items - len(block), *block.shape[1:]))
            block = torch.cat([block, padding])
        scaled = block.contiguous(memory_format=self._memory_format).float().div_(255)
        return scaled.sub_(self._mean).div_(self._std).to(self._dtype)

    def _lower_group_items(self, tried: int) -> None:
        """Args: `tried` images were too many."""
        if tried == 1:
            raise TransientError(f"{self.spec.name}: {self._device} has no memory left for a single image")
        with self._lock:  # two passes that fail together halve it once
            self.group_items = min(self.group_items, tried // 2)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()  # blocks cut for the larger group would not fit the smaller one


def check_pixels(pixels: NDArray[np.uint8], spec: ModelSpec) -> None:
    """Raises ValueError: they are not uint8 [N, 3, S, S]."""
    side = spec.preprocessing.crop
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (3, side, side):
        raise ValueError(
            f"pixels are {pixels.dtype} {list(pixels.shape)}, {spec.name} takes uint8 [N, 3, {side}, {side}]"
        )


def take_threads(count: int) -> None:
    """Set the CPU threads of passes of this thread alone: models of one process need not agree."""
    if count:
        torch.get_num_threads()  # a thread takes over the number of the process when it first asks
        torch.set_num_threads(count)


def _per_channel(values: tuple[float, float, float], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(1, 3, 1, 1)


def _to_unit_rows(features: Tensor) -> Tensor:
    """[N, D] float32 of unit length. A row that is not finite or has no length becomes NaN."""
    rows = features.flatten(1).float()
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    usable = torch.isfinite(norms) & (norms > 0)
    return torch.where(usable, rows / norms, torch.nan)
