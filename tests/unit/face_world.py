"""A collection of faces in memory, found and embedded by networks of a few numbers.

`model_file`, `face_embedder`, `backend` and `client` are fixtures, which a module of tests names as its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pipeline.adapters.models.catalogue import load_embedder, load_finder
from pipeline.api.backend import Backend
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps, ImageEmbedder
from pipeline.service.access import local_caller
from pipeline.service.policies import set_policy
from pipeline.service.policy_body import read_policy
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from tests.face_models import DrawnFace, picture, write_face_model
from tests.unit.api_client import backend_of, client_of
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, plan_one_batch

ANNA, BERTA, CLARA = (DrawnFace(person=n, column=9 * n, row=2) for n in range(3))
LARGE = DrawnFace(person=7, column=9, row=5, stride=16)
POLICY = b"""{"faces": true, "purposes": [{"code": "test", "text": "A test"}], "roles": ["local", "searcher"],
              "case_required": true}"""


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_face_model(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def face_embedder(model_file: Path) -> ImageEmbedder:
    return embedder_of(model_file)


@pytest.fixture
def backend(deps: Deps, tmp_path: Path, log: MemoryAuditLog) -> Backend:
    """A service whose collection has a policy that wants a purpose and a case."""
    made = backend_of(deps, tmp_path, log=log)
    set_policy(COLLECTION, read_policy(POLICY), made.answers_to, local_caller())
    return made


@pytest.fixture
def client(backend: Backend) -> Iterator[TestClient]:
    with client_of(backend) as made:
        yield made


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
