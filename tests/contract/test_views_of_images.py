"""What every VectorIndex does with images that have several rows, or none."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typing_extensions import override

from pipeline.adapters.milvus.index import MilvusIndex
from pipeline.adapters.milvus.lite.index import LiteIndex
from pipeline.errors import ConfigError
from pipeline.ports import VectorIndex
from pipeline.ports.image_rows import MAX_VIEWS
from pipeline.types import CollectionRef, IndexedImage, IndexRow, StoredVersion
from tests.contract.indexes import axis, model, open_server, row, unit, views_model
from tests.index_rows import ids_in, put


@pytest.fixture
def faces(index: VectorIndex) -> Iterator[CollectionRef]:
    """An empty collection of views."""
    name = f"t_{uuid4().hex[:12]}"
    yield index.create_collection(name, views_model()).ref
    index.drop_collection(name)


def views(key: str, count: int, *, etag: str = "e1", of_axis: int | None = None) -> list[IndexRow]:
    vectors = unit(len(key) + count, count) if of_axis is None else [axis(of_axis)] * count
    return [row(key, vector, etag=etag, region=f":{place:02}") for place, vector in enumerate(vectors)]


def rows_of(index: VectorIndex, ref: CollectionRef, key: str) -> list[str]:
    """Two digits and version of each row."""
    (image_id,) = {row(key).id}
    found = index.get_images(ref, [image_id]).get(image_id, ())
    return [f"{one.id.removeprefix(image_id)} {one.ref.etag}" for one in found]


def test_an_image_has_the_rows_of_its_last_version_alone(index: VectorIndex, faces: CollectionRef) -> None:
    put(index, faces, [views("a", 5)[0], views("a", 5)[3]])  # numbers of views that are known elsewhere
    assert rows_of(index, faces, "a") == [":00 e1", ":03 e1"]
    put(index, faces, [*views("a", 5), *views("b", 1)])
    assert rows_of(index, faces, "a") == [":00 e1", ":01 e1", ":02 e1", ":03 e1", ":04 e1"]
    for _ in range(2):
        index.replace_images(faces, {row("a").id: views("a", 2, etag="e2"), row("gone").id: []})
        assert rows_of(index, faces, "a") == [":00 e2", ":01 e2"]
    put(index, faces, views("a", 3, etag="e3", of_axis=1))
    assert rows_of(index, faces, "a") == [":00 e3", ":01 e3", ":02 e3"]
    assert rows_of(index, faces, "b") == [":00 e1"]
    asked = [row("b").id, row("gone").id, row("a").id]
    assert index.get_versions(faces, asked) == {
        row("a").id: StoredVersion(etag="e3", rows=3),
        row("b").id: StoredVersion(etag="e1", rows=1),
    }
    listed = {image.ref.key: image for image in index.list_images(faces)}
    assert listed == {
        "a": IndexedImage(ref=row("a", etag="e3").ref, rows=3),
        "b": IndexedImage(ref=row("b").ref, rows=1),
    }
    assert ids_in(index, faces) == sorted([row("a").id, row("b").id])
    info = index.get_collection(faces.name)
    assert info is not None
    assert (info.rows, info.has_views) == (4, True)
    hits = index.search(faces, axis(1)[None], k=3)[0]
    assert [(hit.id, hit.etag) for hit in hits] == [(row("a").id + f":{n:02}", "e3") for n in range(3)]
    (second,) = index.get_rows(faces, [row("a").id + ":01"])
    assert (second.vector == axis(1)).all()

    for _ in range(2):
        index.replace_images(faces, {row("b").id: []})
        index.delete_images(faces, [row("gone").id])
    assert ids_in(index, faces) == [row("a").id]
    for _ in range(2):
        index.delete_images(faces, [row("a").id, row("b").id])
    assert ids_in(index, faces) == []
    assert index.search(faces, axis(1)[None], k=3) == [[]]


def test_as_many_views_as_there_may_be_of_as_many_images_as_a_batch_has(
    index: VectorIndex, faces: CollectionRef
) -> None:
    keys = [f"{number:03}" for number in range(60)]  # more rows than one message or one answer has
    put(index, faces, [one for key in keys for one in views(key, MAX_VIEWS)])
    assert {image.rows for image in index.list_images(faces)} == {MAX_VIEWS}
    put(index, faces, [one for key in keys[:50] for one in views(key, 3, etag="e2")])
    counts = {image.ref.key: (image.rows, image.ref.etag) for image in index.list_images(faces)}
    assert counts == {key: (3, "e2") if key in keys[:50] else (MAX_VIEWS, "e1") for key in keys}
    index.delete_images(faces, [row(key).id for key in keys])
    assert ids_in(index, faces) == []


WHOLE = row("a").id


@pytest.mark.parametrize(
    ("of_views", "given"),
    [
        (False, [":00"]),
        (False, ["", ""]),
        (False, ["", ":01"]),
        (True, [""]),
        (True, [":00", ":00"]),
        (True, [":01", ":00"]),
        (True, [f":{place:02}" for place in range(MAX_VIEWS + 1)]),
    ],
    ids=str,
)
def test_rows_that_could_not_be_replaced_later_are_refused(
    index: VectorIndex, of_views: bool, given: Sequence[str]
) -> None:
    ref = shared_collection(index, of_views)
    rows = [row("a", region=region) for region in given]
    allowed = "0 to 100 views" if of_views else "one vector"
    with pytest.raises(ConfigError, match=rf"holds {allowed} of each image; image {WHOLE} has rows"):
        index.replace_images(ref, {row("b").id: [], WHOLE: rows})
    assert ids_in(index, ref) == []


def shared_collection(index: VectorIndex, of_views: bool) -> CollectionRef:
    """One for all tests that write nothing: to make one takes a server a second."""
    name = f"t_shared_{of_views}"
    return index.create_collection(name, views_model() if of_views else model()).ref


class KilledLite(LiteIndex):
    """Its process ends between the write of the new rows and the removal of the old ones."""

    @override
    def _row_ids(self, *_: object) -> list[str]:
        raise SystemExit("killed")


class KilledServer(MilvusIndex):
    """The same with a server."""

    @override
    def _row_ids(self, *_: object) -> list[str]:
        raise SystemExit("killed")


@pytest.mark.parametrize("kind", ["folder", "server"])
def test_a_process_killed_between_new_and_old_rows_leaves_what_the_next_call_puts_right(
    kind: str, tmp_path: Path
) -> None:
    path, name = str(tmp_path / "milvus.db"), f"t_{uuid4().hex[:12]}"

    def opened(killed: bool) -> Any:
        if kind == "folder":
            return (KilledLite if killed else LiteIndex)(path)
        return open_server(kind=KilledServer if killed else MilvusIndex)

    with opened(killed=False) as whole:
        ref = whole.create_collection(name, views_model()).ref
        put(whole, ref, [*views("a", 5), *views("b", 2)])
    with opened(killed=True) as dying, pytest.raises(SystemExit):
        put(dying, ref, [*views("a", 2, etag="e2"), *views("b", 2, etag="e2"), *views("c", 1)])
    with opened(killed=False) as whole:
        asked = [row(key).id for key in "abc"]
        assert [whole.get_versions(ref, asked)[id_] for id_ in asked] == [
            StoredVersion(etag="", rows=5),
            StoredVersion(etag="e2", rows=2),
            StoredVersion(etag="e1", rows=1),
        ], "the first has rows of two versions, and is done again"
        assert {image.ref.key: image.ref.etag for image in whole.list_images(ref)}["a"] == ""
        put(whole, ref, views("a", 2, etag="e2"))
        assert whole.get_versions(ref, asked)[asked[0]] == StoredVersion(etag="e2", rows=2)
        whole.drop_collection(name)


def test_one_version_of_each_image_is_listed_in_order_from_any_id_on(
    index: VectorIndex, faces: CollectionRef
) -> None:
    keys = [f"{number}" for number in range(30)]
    put(index, faces, [one for key in keys for one in views(key, 1 + int(key) % 4)])
    in_order = sorted(keys, key=lambda key: row(key).id)
    assert [image.ref.key for image in index.list_images(faces)] == in_order
    assert [image.rows for image in index.list_images(faces)] == [1 + int(key) % 4 for key in in_order]
    for place in (0, 15, 29):
        after = index.list_images(faces, start_after=row(in_order[place]).id)
        assert [image.ref.key for image in after] == in_order[place + 1 :]
