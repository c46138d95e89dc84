"""A plain loop: read, decode and resize one by one, embed in groups, write. What a person writes first."""

import time
from pathlib import Path

import numpy as np

from benchmarks.contestants.clock import Clock, list_photos, parser_of, print_result
from benchmarks.contestants.features import GROUP_ITEMS, READERS, FeatureModel
from benchmarks.contestants.parquet import EmbeddingFile, count_rows


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--decoder", choices=READERS, default="pillow")
    options = parser.parse_args()
    read = READERS[options.decoder]
    clock = Clock()
    model = FeatureModel(options.weights, precision=options.precision)
    model.embed(np.zeros((1, 3, 224, 224), np.uint8))  # the first pass plans the others
    warm_since = time.time()
    paths = list_photos(options.photos)
    file = EmbeddingFile(options.out, dim=512)
    for start in range(0, len(paths), GROUP_ITEMS):
        group = paths[start : start + GROUP_ITEMS]
        pixels = np.stack([read(Path(path).read_bytes()) for path in group])
        file.append(group, model.embed(pixels))
    file.close()
    print_result(clock.stop(count_rows(options.out), warm_since=warm_since))


if __name__ == "__main__":
    main()
