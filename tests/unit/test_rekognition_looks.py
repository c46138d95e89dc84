"""Each picture of a request is read once and looked at once, whatever the answer says of its faces."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.ports import Deps, ImageEmbedder, ViewFinder
from pipeline.ports.embedder import never_late
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import FetchedObject, ObjectRef, View
from tests.face_models import picture
from tests.unit import face_world
from tests.unit import test_rekognition as endpoint
from tests.unit.face_world import ANNA, BERTA, LARGE, deps_of_faces
from tests.unit.fakes import BUCKET
from tests.unit.test_rekognition import held

model_file, face_embedder = face_world.model_file, face_world.face_embedder
backend, served, ask, people = endpoint.backend, endpoint.served, endpoint.ask, endpoint.people

KEY = "shop/two.png"
GIVEN, STORED = {"Bytes": picture([BERTA, LARGE])}, {"S3Object": {"Bucket": BUCKET, "Name": KEY}}
OF = {"CollectionId": "people"}


@dataclass
class CountingFinder:
    finder: ViewFinder
    looks: int = 0

    @property
    def min_side_px(self) -> int:
        return self.finder.min_side_px

    def find_views(
        self, rgb: NDArray[np.uint8], *, check_time: Callable[[], None] = never_late
    ) -> Sequence[View]:
        self.looks += 1
        return self.finder.find_views(rgb, check_time=check_time)


@dataclass
class CountingStore(MemoryStore):
    reads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(BUCKET)

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        self.reads.append(ref.key)
        return super().get(ref, max_bytes=max_bytes)


@pytest.fixture
def store() -> CountingStore:
    made = CountingStore()
    made.put(BUCKET, KEY, picture([BERTA, LARGE]))
    return made


@pytest.fixture
def deps(deps: Deps, store: CountingStore, model_file: Path, face_embedder: ImageEmbedder) -> Deps:
    made = deps_of_faces(replace(deps, store=store), model_file, face_embedder)
    assert made.finder is not None
    return replace(made, finder=CountingFinder(made.finder))


@pytest.mark.parametrize("image", [GIVEN, STORED], ids=["bytes", "object"])
@pytest.mark.parametrize(
    ("operation", "of", "pictures"),
    [
        ("index_faces", OF, ("Image",)),
        ("search_faces_by_image", OF, ("Image",)),
        ("search_users_by_image", OF, ("Image",)),
        ("detect_faces", {}, ("Image",)),
        ("compare_faces", {}, ("SourceImage", "TargetImage")),
    ],
)
def test_a_picture_is_read_and_looked_at_once(
    people: Any,
    deps: Deps,
    store: CountingStore,
    image: dict[str, Any],
    operation: str,
    of: dict[str, str],
    pictures: Sequence[str],
) -> None:
    finder = deps.finder
    assert isinstance(finder, CountingFinder)
    finder.looks, store.reads = 0, []
    held(people, operation, **of, **dict.fromkeys(pictures, image))
    assert finder.looks == len(pictures)
    assert store.reads.count(KEY) == (len(pictures) if image is STORED else 0)


def test_each_face_that_was_not_searched_for_is_told_with_the_reason(people: Any) -> None:
    image = {"Bytes": picture([ANNA, BERTA, LARGE])}
    every = held(people, "search_users_by_image", **OF, Image=image)
    assert [face["Reasons"] for face in every["UnsearchedFaces"]] == [["FACE_NOT_LARGEST"]] * 2
    found = held(people, "detect_faces", Image=image)["FaceDetails"]
    seen = [every["SearchedFace"]["FaceDetail"], *(face["FaceDetails"] for face in every["UnsearchedFaces"])]
    assert seen == found
    poor = {"Bytes": picture([ANNA, BERTA])}
    none = held(people, "search_users_by_image", **OF, Image=poor, QualityFilter="HIGH")
    found = held(people, "detect_faces", Image=poor)["FaceDetails"]
    assert [face["FaceDetails"] for face in none["UnsearchedFaces"]] == found
    assert all("SMALL_BOUNDING_BOX" in face["Reasons"] for face in none["UnsearchedFaces"])
