"""Embeds aligned faces by a network in an ONNX file. See `ports.ImageEmbedder`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.adapters.models.faces.face_file import EmbedderSettings
from pipeline.adapters.models.onnx.network import OnnxNetwork
from pipeline.adapters.models.torch_embedder import CPU_PASS_ITEMS, check_pixels, do_nothing
from pipeline.errors import ModelError, TransientError
from pipeline.types import ModelSpec


class OnnxEmbedder:
    """Safe to share between threads.

    Args:
        group_items: faces in one run, on a CPU at most `CPU_PASS_ITEMS`. A network for a fixed number gets
            that number, filled up with black, and a thread makes several runs of it in turn. Lowered for good
            when the device runs out of memory.
        passes: runs at once, by as many threads, which share the groups of all calls.
        before_pass: called before each run by the thread that makes it, which it may hold up.

    Raises:
        ModelError: the network takes or gives another shape than the model file says.
    """

    def __init__(
        self,
        network: OnnxNetwork,
        spec: ModelSpec,
        settings: EmbedderSettings,
        *,
        group_items: int,
        passes: int = 1,
        before_pass: Callable[[], None] = do_nothing,
    ) -> None:
        self.spec = spec
        self.device = network.device
        self._network = network
        self._output = network.outputs[0]
        self._is_bgr, self._is_nhwc = settings.channels == "bgr", settings.layout == "nhwc"
        self._mean, self._std = (
            np.array(values, np.float32).reshape(3, 1, 1) * 255 for values in (settings.mean, settings.std)
        )
        self._fixed_items = network.fixed_items
        self.group_items = group_items if self.device != "cpu" else min(group_items, CPU_PASS_ITEMS)
        self._before_pass = before_pass
        self._threads = passes
        self._passes = ThreadPoolExecutor(passes, thread_name_prefix="device")
        self._check_dim()

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `ports.ImageEmbedder`.

        Raises:
            ValueError: not uint8 [N, 3, S, S].
            TransientError: its memory is full, even for the fewest faces.
            FatalError: the device failed.
        """
        check_pixels(pixels, self.spec)
        items = self._share(len(pixels))
        groups = [pixels[start : start + items] for start in range(0, len(pixels), items)]
        rows = self._passes.map(self._embed_group, groups)
        return np.concatenate([np.empty((0, self.spec.dim), np.float32), *rows])

    def _share(self, items: int) -> int:
        """How many of these faces a thread gets at once. A hand-over costs as much as cutting out a face."""
        fixed = self._fixed_items
        if not fixed:
            return self.group_items
        runs = -(-items // (fixed * self._threads))
        return fixed * max(1, min(runs, self.group_items // fixed))

    def _embed_group(self, group: NDArray[np.uint8]) -> NDArray[np.float32]:
        runs: list[NDArray[np.float32]] = []
        start = 0
        while start < len(group):
            part = group[start : start + (self._fixed_items or self.group_items)]
            try:
                runs.append(self._run(part))
            except torch.OutOfMemoryError as err:
                self._lower_group_items(len(part), err)
            else:
                start += len(part)
        return _to_unit_rows(np.concatenate(runs))

    def _lower_group_items(self, tried: int, err: torch.OutOfMemoryError) -> None:
        """Args: `tried` faces were too many. A network for a fixed number takes no fewer."""
        if tried == 1 or self._fixed_items:
            raise TransientError(f"{self.spec.name}: {self.device} has no memory left for a run") from err
        self.group_items = min(self.group_items, tried // 2)

    def _run(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._before_pass()
        (features,) = self._network.run(self._to_input(faces), [self._output])
        return features.reshape(len(features), -1)[: len(faces)]

    def _to_input(self, group: NDArray[np.uint8]) -> NDArray[np.float32]:
        planes = group[:, ::-1] if self._is_bgr else group
        blob = planes.astype(np.float32, order="C")
        blob -= self._mean  # in place: a copy of a group is megabytes of fresh memory
        blob /= self._std
        if self._fixed_items > len(blob):
            padding = np.zeros((self._fixed_items - len(blob), *blob.shape[1:]), np.float32)
            blob = np.concatenate([blob, padding])
        return np.ascontiguousarray(blob.transpose(0, 2, 3, 1)) if self._is_nhwc else blob

    def _check_dim(self) -> None:
        """By one run: the shape that a file states may be left open."""
        side_px = self.spec.preprocessing.crop
        black = np.zeros((1, 3, side_px, side_px), np.uint8)
        try:
            (features,) = self._network.run(self._to_input(black), [self._output])
        except torch.OutOfMemoryError as err:
            self._lower_group_items(1, err)
            raise
        found = features.size // max(1, len(features))
        if found != self.spec.dim:
            raise ModelError(
                f"{self._network.name} gives {found} numbers, and the model file says dim = {self.spec.dim}"
            )


def _to_unit_rows(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of unit length. A row that is not finite or has no length becomes NaN."""
    rows = features.astype(np.float32)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    usable = np.isfinite(norms) & (norms > 0)
    return np.where(usable, rows / np.where(usable, norms, 1), np.nan).astype(np.float32)
