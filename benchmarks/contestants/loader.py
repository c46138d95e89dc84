"""A torch DataLoader that reads and decodes, in worker processes if there are any, ahead of the model."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.contestants.clock import Clock, list_photos, parser_of, print_result
from benchmarks.contestants.features import GROUP_ITEMS, READERS, FeatureModel
from benchmarks.contestants.parquet import EmbeddingFile, count_rows


class Photographs(Dataset[tuple[str, torch.Tensor]]):
    def __init__(self, paths: Sequence[str], decoder: str) -> None:
        self._paths = paths
        self._decoder = decoder

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, place: int) -> tuple[str, torch.Tensor]:
        path = self._paths[place]
        pixels = READERS[self._decoder](Path(path).read_bytes())
        return path, torch.from_numpy(np.ascontiguousarray(pixels))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--decoder", choices=READERS, default="pillow")
    options = parser.parse_args()
    clock = Clock()
    model = FeatureModel(options.weights, precision=options.precision)
    model.embed(np.zeros((1, 3, 224, 224), np.uint8))
    warm_since = time.time()
    photographs = Photographs(list_photos(options.photos), options.decoder)
    file = EmbeddingFile(options.out, dim=512)
    for paths, pixels in DataLoader(photographs, batch_size=GROUP_ITEMS, num_workers=options.workers):
        file.append(paths, model.embed(pixels.numpy()))
    file.close()
    print_result(clock.stop(count_rows(options.out), warm_since=warm_since))


if __name__ == "__main__":
    main()
