"""Ray Data: read_binary_files → map → map_batches with an actor → write_parquet, as its manual has it."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray

from benchmarks.contestants.clock import Clock, parser_of, print_result
from benchmarks.contestants.features import GROUP_ITEMS, FeatureModel, read_pixels
from benchmarks.contestants.parquet import count_rows

OBJECT_STORE_BYTES = (
    2**30
)  # far more than the pixels of some hundred images; the default is a third of memory


class Model:
    """The actor. Its threads are those of the whole machine: the model is what takes the time."""

    def __init__(self, weights: Path, precision: str, cores: int, ready_file: Path) -> None:
        self._model = FeatureModel(weights, precision=precision, threads=cores)
        self._model.embed(np.zeros((1, 3, 224, 224), np.uint8))
        ready_file.write_text(str(time.time()), encoding="utf-8")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"path": batch["path"], "embedding": self._model.embed(batch["pixels"])}


def read_row(row: dict[str, Any]) -> dict[str, Any]:
    return {"path": row["path"], "pixels": read_pixels(row["bytes"])}


def main() -> None:
    options = parser_of(__doc__).parse_args()
    cores = len(os.sched_getaffinity(0))
    ray.init(
        num_cpus=cores,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=str(options.out.parent / "ray"),  # else it leaves its sessions in /tmp for ever
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    ready_file = options.out.with_suffix(".ready")
    clock = Clock()
    images = ray.data.read_binary_files(str(options.photos), include_paths=True, file_extensions=["jpg"])
    vectors = images.map(read_row).map_batches(
        Model,
        fn_constructor_args=(options.weights, options.precision, cores, ready_file),
        batch_size=GROUP_ITEMS,
        concurrency=1,
        num_cpus=1,  # the other core is for decoding; with more, nothing else would be scheduled
    )
    vectors.write_parquet(str(options.out))
    warm_since = float(ready_file.read_text(encoding="utf-8"))
    print_result(clock.stop(count_rows(options.out), warm_since=warm_since, ray=ray.__version__))
    ray.shutdown()


if __name__ == "__main__":
    main()
