"""`pictor faces` through a running service: faces, comparisons, and pictures that cannot be read."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.faces_there import compare_there, detect_there
from pipeline.cli.search_options import SearchOptions
from pipeline.errors import PolicyError
from pipeline.ports import Deps
from pipeline.service.accountability import Accountability
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_policies import MemoryPolicyBook
from pipeline.types import CollectionPolicy, Purpose
from tests.accountable import policy_version
from tests.face_models import DrawnFace, picture, write_face_model
from tests.unit.api_client import backend_of
from tests.unit.face_world import BERTA, LARGE, deps_of_faces, embedder_of
from tests.unit.fakes import COLLECTION
from tests.unit.test_cli_there import ServiceHere, serving

WANTED = SearchOptions(
    collection=COLLECTION, k=1, min_score=None, prefix="", bucket="", metadata=(), where="", purpose="test"
)


@pytest.fixture
def service(deps: Deps, tmp_path: Path) -> Iterator[ServiceHere]:
    model_file = write_face_model(tmp_path / "model")
    deps = deps_of_faces(deps, model_file, embedder_of(model_file))
    policies = MemoryPolicyBook()
    policies.add(
        policy_version(
            COLLECTION,
            CollectionPolicy(
                purposes=(Purpose(code="test", text="A test"),), roles=("local",), min_score=0.95
            ),
        )
    )
    answers_to = Accountability(log=MemoryAuditLog(), policies=policies, index=deps.index)
    backend = replace(backend_of(deps, tmp_path), policies=policies, answers_to=answers_to)
    with serving(backend) as service:
        yield service


def file_of(folder: Path, name: str, *faces: DrawnFace) -> Path:
    path = folder / name
    path.write_bytes(picture(faces))
    return path


def place_of(face: DrawnFace) -> dict[str, int]:
    return {"left": face.left, "top": face.top, "width": face.side_px, "height": face.side_px}


def test_each_file_has_an_answer_also_behind_one_that_cannot_be_read(
    service: ServiceHere, tmp_path: Path
) -> None:
    bad, both = tmp_path / "bad.png", file_of(tmp_path, "both.png", BERTA, LARGE)
    bad.write_bytes(b"no picture, but a text of some length")
    failed, found = detect_there([bad, both], COLLECTION, service)
    assert (failed["picture"], failed["code"]) == (str(bad), "image_rejected")
    assert str(failed["error"]).startswith("not_an_image: ")
    assert (found["picture"], found["width"], found["height"]) == (str(both), 320, 240)
    faces = found["faces"]
    assert isinstance(faces, list)
    assert [face["box"] for face in faces] == [place_of(LARGE), place_of(BERTA)]


def test_two_pictures_are_compared_on_the_terms_of_the_collection(
    service: ServiceHere, tmp_path: Path
) -> None:
    one, both = file_of(tmp_path, "one.png", BERTA), file_of(tmp_path, "both.png", BERTA, LARGE)
    found = compare_there(one, both, WANTED, service)
    assert found["face"] == place_of(BERTA)
    matches = found["matches"]
    assert isinstance(matches, list)
    assert [match["box"] for match in matches] == [place_of(BERTA)]
    assert found["unmatched"] == [place_of(LARGE)]
    assert found["receipt"]
    with pytest.raises(PolicyError, match="purpose_missing"):
        compare_there(one, both, replace(WANTED, purpose=""), service)
