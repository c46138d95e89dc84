"""A model of two towers: pictures as the fake model sees them, and words for plain colours.

`index`, `embedder` and `deps` are fixtures, which a module of tests names as its own.
"""

import io
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import Capability, ModelSpec
from tests.unit.fakes import (
    BLACK,
    BLUE,
    BUCKET,
    COLLECTION,
    GREEN,
    LIMITS,
    RED,
    SIDE,
    SPEC,
    WHITE,
    FakeEmbedder,
    plan_one_batch,
    png,
)

TEXT_SPEC = replace(SPEC, name="two towers", capabilities=(Capability.IMAGES, Capability.TEXT))
PURPLE = (120, 20, 120)
COLOURS = {"red": RED, "green": GREEN, "blue": BLUE, "white": WHITE, "black": BLACK}
PICTURES = {f"{name}.png": png(colour) for name, colour in COLOURS.items()} | {
    "purple.png": png(PURPLE)  # what red and blue are together, also to the fake model
}
MAX_TOKENS = 8


class FakeTexts:
    """A text is the mean of the plain pictures of its colours. Words of no colour say nothing."""

    def __init__(self, spec: ModelSpec = TEXT_SPEC) -> None:
        self.spec = spec
        self.max_tokens = MAX_TOKENS
        self.calls: list[list[str]] = []
        self._pictures = FakeEmbedder(TEXT_SPEC)
        self._lock = threading.Lock()

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        return [len(text.split()) + 2 for text in texts]

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with self._lock:
            self.calls.append(list(texts))
        return np.stack([self._embed(text) for text in texts])

    def _embed(self, text: str) -> NDArray[np.float32]:
        named = [COLOURS[word] for word in text.split() if word in COLOURS] or [(128, 128, 128)]
        shown = np.stack([_pixels(colour) for colour in named])
        mean = self._pictures.embed_images(shown).mean(axis=0)
        vector: NDArray[np.float32] = (mean / np.linalg.norm(mean)).astype(np.float32)
        return vector


def _pixels(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    body = io.BytesIO(png(colour, SIDE, SIDE))
    return np.asarray(Image.open(body), dtype=np.uint8).transpose(2, 0, 1)


def vector_of(text: str) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = FakeTexts().embed_texts([text])[0]
    return vector


@pytest.fixture
def index() -> MemoryIndex:
    index = MemoryIndex()
    index.create_collection(COLLECTION, TEXT_SPEC)
    return index


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder(TEXT_SPEC)


@pytest.fixture
def deps(deps: Deps, store: MemoryStore) -> Deps:
    """The same ports, with a text tower, over a collection of plain pictures."""
    for key, body in PICTURES.items():
        store.put(BUCKET, key, body, {"words": "mixed" if key == "purple.png" else "plain"})
    run_batch(plan_one_batch(deps), deps, LIMITS)
    return replace(deps, texts=FakeTexts())
