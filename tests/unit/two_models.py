"""A collection of two models: the usual one of these tests, and beside it one of a larger input."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.ports import Deps
from pipeline.testing.memory_index import MemoryIndex
from pipeline.types import CollectionRef, IndexRow, ModelBeside, ModelSpec
from tests.index_rows import ids_in
from tests.unit.fakes import COLLECTION, SIDE, SPEC, FakeEmbedder

COPIES = "copies"
COPIES_SIDE = 2 * SIDE
COPIES_SPEC = replace(
    SPEC,
    name="copy model",
    address="copy",
    fingerprint="c0" * 32,
    dim=16,
    preprocessing=replace(SPEC.preprocessing, resize=COPIES_SIDE, crop=COPIES_SIDE),
)
TWO_SPEC: ModelSpec = replace(
    SPEC,
    name="two",
    address="two.toml",
    fingerprint="2e" * 32,
    beside=(ModelBeside(name=COPIES, spec=COPIES_SPEC),),
)
TWO_TARGET = CollectionRef(name=COLLECTION, fingerprint=TWO_SPEC.fingerprint)


class CopyEmbedder(FakeEmbedder):
    """Its vectors are longer, and no picture has the same one from the usual model."""

    def __init__(self) -> None:
        super().__init__(COPIES_SPEC)

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert pixels.shape[1:] == (3, COPIES_SIDE, COPIES_SIDE)
        rows = super().embed_images(pixels)[:, ::-1]
        longer = np.concatenate([rows, np.zeros((len(rows), 3), np.float32)], axis=1)
        return np.ascontiguousarray(longer)


def deps_of_two(deps: Deps) -> Deps:
    """The same world with these models, and an index of its own."""
    index = MemoryIndex()
    index.create_collection(COLLECTION, TWO_SPEC)
    return replace(deps, index=index, embedder=FakeEmbedder(TWO_SPEC), beside={COPIES: CopyEmbedder()})


def rows_of_two(deps: Deps) -> dict[str, IndexRow]:
    """By key. Checks that each image has all its vectors."""
    ids = ids_in(deps.index, TWO_TARGET)
    images = deps.index.get_images(TWO_TARGET, ids)
    rows = {row.ref.key: row for found in images.values() for row in found}
    assert len(rows) == len(ids)
    for row in rows.values():
        assert row.vector.shape == (SPEC.dim,)
        assert {name: vector.shape for name, vector in row.beside.items()} == {COPIES: (COPIES_SPEC.dim,)}
    return rows


def vectors_of_two(deps: Deps) -> dict[str, tuple[list[float], list[float]]]:
    """Something that can be compared: both vectors of each key."""
    return {key: (row.vector.tolist(), row.beside[COPIES].tolist()) for key, row in rows_of_two(deps).items()}
