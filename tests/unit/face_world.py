"""A collection of faces in memory, found and embedded by networks of a few numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.adapters.models.catalogue import load_embedder, load_finder
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps, ImageEmbedder
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from tests.face_models import DrawnFace, picture
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, plan_one_batch

ANNA, BERTA, CLARA = (DrawnFace(person=n, column=9 * n, row=2) for n in range(3))
LARGE = DrawnFace(person=7, column=9, row=5, stride=16)


def embedder_of(model_file: Path) -> ImageEmbedder:
    return load_embedder(str(model_file), weights_dir=model_file.parent, device="cpu", group_items=4)


def deps_of_faces(deps: Deps, model_file: Path, embedder: ImageEmbedder) -> Deps:
    """With an empty collection."""
    index = MemoryIndex()
    index.create_collection(COLLECTION, embedder.spec)
    finder = load_finder(embedder.spec, weights_dir=model_file.parent)
    return replace(deps, index=index, embedder=embedder, finder=finder)


def index_faces(deps: Deps, pictures: Mapping[str, Sequence[DrawnFace]]) -> None:
    """Args: `pictures`: the faces of each, by key."""
    assert isinstance(deps.store, MemoryStore)
    for key, faces in pictures.items():
        deps.store.put(BUCKET, key, picture(faces))
    run_batch(plan_one_batch(deps, *pictures, spec=deps.embedder.spec), deps, LIMITS)
