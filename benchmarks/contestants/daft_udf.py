"""Daft: glob, download, a class UDF that decodes and embeds groups of images, write_parquet."""

import time
from pathlib import Path
from typing import Any

import daft
import numpy as np

from benchmarks.contestants.clock import Clock, parser_of, print_result
from benchmarks.contestants.features import GROUP_ITEMS, FeatureModel, read_pixels
from benchmarks.contestants.parquet import count_rows

EMBEDDING = daft.DataType.embedding(daft.DataType.float32(), 512)


@daft.cls(max_concurrency=1)  # two would load the model twice and fight over the same two cores
class Model:
    def __init__(self, weights: str, precision: str, ready_file: str) -> None:
        self._model = FeatureModel(Path(weights), precision=precision)
        self._model.embed(np.zeros((1, 3, 224, 224), np.uint8))
        Path(ready_file).write_text(str(time.time()), encoding="utf-8")

    @daft.method.batch(return_dtype=EMBEDDING, batch_size=GROUP_ITEMS)
    def embed(self, bodies: daft.Series) -> list[Any]:
        pixels = np.stack([read_pixels(body) for body in bodies.to_pylist()])
        return list(self._model.embed(pixels))


def main() -> None:
    options = parser_of(__doc__).parse_args()
    ready_file = options.out.with_suffix(".ready")
    model = Model(str(options.weights), options.precision, str(ready_file))
    clock = Clock()
    photos = daft.from_glob_path(f"{options.photos}/**/*.jpg")
    bodies = photos.with_column("body", photos["path"].download())
    vectors = bodies.with_column("embedding", model.embed(bodies["body"])).select("path", "embedding")
    vectors.write_parquet(str(options.out))
    warm_since = float(ready_file.read_text(encoding="utf-8"))
    print_result(clock.stop(count_rows(options.out), warm_since=warm_since, daft=daft.__version__))


if __name__ == "__main__":
    main()
