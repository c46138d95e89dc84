"""A network that a model file describes, behind the call that a torch module has."""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.adapters.models.embedding import kept_dim
from pipeline.adapters.models.onnx.network_file import NetworkFile
from pipeline.errors import ModelError

Run = Callable[[Tensor], Tensor]


class DescribedNetwork:
    """[N, 3, S, S] of normalised RGB to [N, D], for any N. Safe to share between threads, if `run` is.

    Args:
        run: from the network's own input to the answer that the model file names.
        fixed_items: how many images each run takes; 0 for any number.
        where: begins each message. Names the model and its file.

    Raises:
        ModelError: the network takes or gives another shape than the model file says.
    """

    def __init__(self, run: Run, file: NetworkFile, *, fixed_items: int, where: str) -> None:
        self._run = run
        self._file = file
        self._fixed_items = fixed_items
        self._where = where
        side_px = file.preprocessing.crop
        rows = self._rows(torch.zeros(1, 3, side_px, side_px))
        if not torch.isfinite(rows).all():
            raise ModelError(f"{where} gives values that are not finite for a grey image")
        self.full_dim = rows.shape[1]
        self.dim = kept_dim(self.full_dim, file.embedding, name=file.name)

    def __call__(self, images: Tensor) -> Tensor:
        return self._rows(images)[:, : self.dim]

    def _rows(self, images: Tensor) -> Tensor:
        items = self._fixed_items or len(images)
        runs = [self._one_run(images[start : start + items]) for start in range(0, len(images), items)]
        return torch.cat(runs)

    def _one_run(self, images: Tensor) -> Tensor:
        missing = max(0, self._fixed_items - len(images))
        filled = torch.cat([images, images.new_zeros((missing, *images.shape[1:]))]) if missing else images
        return self._pool(self._run(self._arrange(filled)))[: len(images)]

    def _arrange(self, images: Tensor) -> Tensor:
        planes = images.flip(1) if self._file.channels == "bgr" else images
        if self._file.values == "bytes":
            planes = planes.round().clamp(0, 255).to(torch.uint8)
        return (planes.permute(0, 2, 3, 1) if self._file.layout == "nhwc" else planes).contiguous()

    def _pool(self, answer: Tensor) -> Tensor:
        if answer.ndim >= 2 and answer[0].numel() == answer.shape[1]:
            return answer.flatten(1)
        match (answer.ndim, self._file.pooling):
            case (3, "cls"):
                return answer[:, 0]
            case (3, "mean"):
                return answer.mean(1)
            case (4, "mean"):
                return answer.mean((2, 3))
        raise ModelError(
            f"{self._where} gives {list(answer.shape)}, and pooling = {self._file.pooling!r} makes no [N, D] "
            "of it: cls takes [N, T, D], mean takes [N, T, D] or [N, D, H, W]"
        )
