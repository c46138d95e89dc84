"""What is opened at its first use and not before."""

import numpy as np

from pipeline.ports.lazy import Lazy, LazyEmbedder
from tests.unit.fakes import SIDE, SPEC, FakeEmbedder


def test_a_value_is_made_once_and_not_before_it_is_asked_for() -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    lazy = Lazy(make)
    assert (lazy.made, made) == (None, [])
    assert lazy() is lazy() is lazy.made is made[0]
    assert len(made) == 1


def test_an_embedder_has_a_device_once_its_weights_are_loaded() -> None:
    embedder = LazyEmbedder(SPEC, FakeEmbedder)
    assert (embedder.spec, embedder.device) == (SPEC, "")
    embedder.embed_images(np.zeros((1, 3, SIDE, SIDE), np.uint8))
    assert embedder.device == "cpu"
