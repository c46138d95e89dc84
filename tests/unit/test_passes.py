"""Models are loaded while others compute: torch.fx must not follow what it was not asked to."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

from pipeline.adapters.models.inference import quicken
from pipeline.adapters.models.passes import Passes
from pipeline.adapters.models.torch_embedder import TorchEmbedder
from tests.unit.test_micro_batches import DEADLINE_S
from tests.unit.test_models_embedder import make_embedder, make_pixels

CPU = torch.device("cpu")


def network() -> nn.Module:
    """[N, 3, S, S] to [N, 3], with batch norms to fold."""
    layers = [nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU()) for _ in range(20)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def test_a_model_that_is_loaded_disturbs_none_that_computes() -> None:
    spec = make_embedder(nn.Identity()).spec
    module, dtype = quicken(network(), spec, device=CPU, dtype=torch.float32)
    embedder = TorchEmbedder(module, spec, device=CPU, group_items=1, dtype=dtype, passes=2)
    pixels = make_pixels(4)
    wanted = embedder.embed_images(pixels)
    loaded = threading.Event()

    def compute() -> bool:
        same = True
        while not loaded.is_set():
            same &= np.array_equal(embedder.embed_images(pixels), wanted, equal_nan=True)
        return same

    with ThreadPoolExecutor(1) as pool:
        computing = pool.submit(compute)
        try:
            for _ in range(10):
                quicken(network(), spec, device=CPU, dtype=torch.float32)
        finally:
            loaded.set()
        assert computing.result(DEADLINE_S)


def test_who_is_alone_waits_for_those_that_compute_and_holds_up_the_next() -> None:
    passes, order = Passes(), list[str]()
    first, go_on = threading.Event(), threading.Event()

    def compute() -> None:
        with passes.one():
            first.set()
            assert go_on.wait(DEADLINE_S)
            order.append("pass")

    def be_alone() -> None:
        with passes.none():
            order.append("alone")

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(compute)]
        assert first.wait(DEADLINE_S)
        work += [pool.submit(be_alone) for _ in range(2)]
        go_on.set()
        for part in work:
            part.result(DEADLINE_S)
    assert order == ["pass", "alone", "alone"]
    with passes.one():
        order.append("pass")
