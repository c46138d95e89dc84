"""The forward pass alone, on tensors that lie ready: no pipeline around this model can be faster."""

import numpy as np
import torch

from benchmarks.contestants.clock import Clock, parser_of, print_result
from benchmarks.contestants.features import CROP, GROUP_ITEMS, FeatureModel


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--groups", type=int, default=10, help="passes of the model")
    parser.add_argument("--group-items", type=int, default=GROUP_ITEMS)
    options = parser.parse_args()
    model = FeatureModel(
        options.weights,
        architecture=options.architecture,
        precision=options.precision,
        device=options.device,
    )
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (options.group_items, 3, CROP, CROP), np.uint8)
    ready = model.to_input(pixels)
    for _ in range(2):  # the first passes plan the others
        model.forward(ready)
    _finish(options.device)
    clock = Clock()
    for _ in range(options.groups):
        model.forward(ready)
    _finish(options.device)
    print_result(clock.stop(options.groups * options.group_items))


def _finish(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()  # passes are queued; without this only their launch is timed


if __name__ == "__main__":
    main()
