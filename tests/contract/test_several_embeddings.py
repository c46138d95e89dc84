"""What every VectorIndex does with several embeddings of each image."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.adapters.beside.index import BesideIndex, OpenBesideIndex
from pipeline.adapters.milvus.lite.index import LiteIndex
from pipeline.errors import ArgumentError, ConfigError, ConflictError, ModelMismatchError, TargetError
from pipeline.ports import VectorIndex
from pipeline.service.confined import ConfinedIndex, Scope
from pipeline.testing.memory_index import MemoryIndex
from pipeline.types import BoundModel, CollectionRef, IndexedImage, SearchFilter, StoredVersion
from tests.contract.indexes import axis, model, open_index, row
from tests.contract.several_embeddings import COLOURS, COPIES, SEVERAL, direction, whole_row
from tests.index_rows import ids_in, put

A, B, C = (row(key).id for key in "abc")


@pytest.fixture(scope="module", params=["memory", "of a tenant", "folder", "server"])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorIndex]:
    if request.param == "memory":
        yield BesideIndex(MemoryIndex())
        return
    if request.param == "of a tenant":
        scope = Scope(who="ann", tenant="acme", collections=("*",))
        yield ConfinedIndex(BesideIndex(MemoryIndex()), scope)
        return
    with open_index(request.param, tmp_path_factory) as index:
        yield index


@pytest.fixture(scope="module")
def made(index: VectorIndex) -> CollectionRef:
    """Once, since a server takes seconds for each embedding."""
    return index.create_collection(f"t_{uuid4().hex[:12]}", SEVERAL).ref


@pytest.fixture
def ref(index: VectorIndex, made: CollectionRef) -> CollectionRef:
    """A collection without rows."""
    index.delete_images(made, ids_in(index, made))
    return made


def test_each_embedding_is_searched_for_itself(index: VectorIndex, ref: CollectionRef) -> None:
    put(
        index,
        ref,
        [
            whole_row("a", first=0, colours=0, copies=1, metadata={"camera": "x"}),
            whole_row("b", first=1, colours=1, copies=0),
        ],
    )
    index.flush(ref)

    def best(embedding: str, dim: int, place: int, where: SearchFilter | None = None) -> list[str]:
        [hits] = index.search(
            ref, direction(dim, place)[None], k=9, embedding=embedding, where=where, min_score=0.5
        )
        return [hit.key for hit in hits]

    assert [best("", 8, 0), best("colours", 3, 0), best("copies", 4, 0)] == [["a"], ["a"], ["b"]]
    assert best("copies", 4, 1, SearchFilter(metadata={"camera": "x"})) == ["a"]
    assert best("copies", 4, 0, SearchFilter(metadata={"camera": "x"})) == []
    [[hit]] = index.search(ref, direction(4, 0)[None], k=1, embedding="copies")
    assert (hit.id, hit.key, hit.etag, hit.score, hit.width) == (B, "b", "e1", 1.0, 640)
    [of_first] = index.get_rows(ref, [A])
    [of_copies] = index.get_rows(ref, [A], embedding="copies")
    assert (of_first.vector == axis(0)).all()
    assert (of_copies.vector == direction(4, 1)).all()
    assert (of_copies.ref, of_copies.metadata) == (of_first.ref, {"camera": "x"})
    assert of_first.beside == of_copies.beside == {}


def test_an_embedding_that_is_not_there_is_named_with_those_that_are(
    index: VectorIndex, ref: CollectionRef
) -> None:
    said = f"collection '{ref.name}' has no embedding 'faces'; there are: main, colours, copies"
    with pytest.raises(ArgumentError, match=said):
        index.search(ref, axis(0)[None], k=1, embedding="faces")
    with pytest.raises(ArgumentError, match=said):
        index.get_rows(ref, [A], embedding="faces")
    with pytest.raises(ArgumentError, match=f"'{ref.name}' holds vectors of 4 numbers; the query has shape"):
        index.search(ref, axis(0)[None], k=1, embedding="copies")


def test_an_image_has_the_embeddings_of_its_last_version_alone(
    index: VectorIndex, ref: CollectionRef
) -> None:
    put(index, ref, [whole_row("a"), whole_row("b")])
    for _ in range(2):
        index.replace_images(ref, {A: [whole_row("a", etag="e2", copies=2)], B: [], C: []})
        found = index.get_images(ref, [A, B, C])
        assert list(found) == [A]
        [[only]] = found.values()
        assert (only.ref.etag, sorted(only.beside)) == ("e2", ["colours", "copies"])
        assert (only.vector == axis(0)).all()
        assert (only.beside["copies"] == direction(4, 2)).all()
    assert index.get_versions(ref, [A, B, C]) == {A: StoredVersion(etag="e2", rows=1)}
    assert list(index.list_images(ref)) == [IndexedImage(ref=row("a", etag="e2").ref, rows=1)]
    assert [hit.key for hit in index.search(ref, direction(4, 0)[None], k=9, embedding="copies")[0]] == ["a"]

    put(index, ref, [whole_row("b"), whole_row("c")])
    in_order = ids_in(index, ref)
    assert in_order == sorted([A, B, C])
    listed = index.list_images(ref, start_after=in_order[0])
    assert [image.ref.image_id for image in listed] == in_order[1:]
    for _ in range(2):
        index.delete_images(ref, [A, C])
        assert ids_in(index, ref) == [B]
    [hits] = index.search(ref, direction(3, 0)[None], k=9, embedding="colours")
    assert [hit.id for hit in hits] == [B]


def test_a_row_needs_each_embedding_in_its_length(index: VectorIndex, ref: CollectionRef) -> None:
    whole = whole_row("a")
    held = r"holds embeddings the first \[8\], colours \[3\], copies \[4\] of each image; the row of 'a' has"
    for bad, found in (
        (row("a"), r"embeddings the first \[8\]"),
        (replace(whole, beside={"copies": direction(4, 0)}), r"embeddings the first \[8\], copies \[4\]"),
        (replace(whole, beside={**whole.beside, "more": axis(0)}), r"more \[8\]"),
        (replace(whole, beside={**whole.beside, "copies": axis(0)}), r"copies \[8\]"),
        (replace(whole, vector=direction(4, 0)), r"embeddings the first \[4\], colours"),
    ):
        with pytest.raises(ConfigError, match=f"{held} .*{found}"):
            put(index, ref, [whole_row("b"), bad])
    with pytest.raises(ConfigError, match="metadata"):
        put(index, ref, [whole_row("b"), whole_row("a", metadata={"note": "x" * 70_000})])
    with pytest.raises(ConfigError, match="holds one vector of each image"):
        index.replace_images(ref, {B: [whole_row("b")] * 2})
    assert ids_in(index, ref) == []


def test_the_record_says_which_embeddings_there_are(index: VectorIndex, ref: CollectionRef) -> None:
    put(index, ref, [whole_row("a"), whole_row("b")])
    info = index.get_collection(ref.name)
    assert info is not None
    assert (info.name, info.model_name, info.fingerprint, info.dim) == (ref.name, "first", "ab" * 32, 8)
    assert {
        name: (of_it.name, of_it.model_name, of_it.model_address, of_it.fingerprint, of_it.dim)
        for name, of_it in info.beside.items()
    } == {
        "colours": (ref.name, "hues", "builtin/hues", COLOURS.fingerprint, 3),
        "copies": (ref.name, "sscd", "builtin/sscd", COPIES.fingerprint, 4),
    }
    copies = info.beside["copies"]
    assert (info.reads_text, copies.reads_text, info.rows, copies.rows, copies.live) == (
        *(False, True, 2, 2, True),
    )
    assert index.model_of(ref) == BoundModel(
        name="first",
        dim=8,
        fingerprint=SEVERAL.fingerprint,
        beside={
            "colours": BoundModel(name="hues", dim=3, fingerprint=COLOURS.fingerprint),
            "copies": BoundModel(name="sscd", dim=4, fingerprint=COPIES.fingerprint, reads_text=True),
        },
    )
    assert [found for found in index.list_collections() if found.name.startswith(ref.name)] == [info]
    assert index.list_generations(ref.name) == [info]
    assert index.get_generation(ref) == info
    assert index.create_collection(ref.name, SEVERAL) == info


def test_the_places_of_embeddings_are_no_collections_of_anybody(
    index: VectorIndex, ref: CollectionRef
) -> None:
    name = f"{ref.name}__abababab__copies"
    hidden = CollectionRef(name=name, fingerprint=ref.fingerprint)
    for create in (index.create_collection, index.open_generation):
        with pytest.raises(ArgumentError, match="collection name"):
            create(name, COPIES)
    for operation in (
        lambda: index.live(name),
        lambda: index.drop_collection(name),
        lambda: index.check_generation(hidden),
        lambda: index.model_of(hidden),
        lambda: index.get_rows(hidden, [A]),
        lambda: index.search(hidden, direction(4, 0)[None], k=1),
        lambda: index.delete_images(hidden, [A]),
        lambda: index.drop_generation(hidden),
        lambda: index.promote(hidden),
        lambda: put(index, hidden, [row("a", direction(4, 0))]),
    ):
        with pytest.raises((TargetError, ArgumentError)):
            operation()
    if not isinstance(index, ConfinedIndex):  # which refuses the name
        assert index.get_collection(name) is None
        assert index.get_generation(hidden) is None
        assert index.list_generations(name) == []


def test_generations_with_and_without_further_embeddings_come_and_go(index: VectorIndex) -> None:
    name, two = f"t_{uuid4().hex[:12]}", replace(model("first", "de" * 32), beside=SEVERAL.beside[1:])
    ref = index.create_collection(name, two).ref
    put(index, ref, [replace(row("a"), beside={"copies": direction(4, 0)})])
    alone = index.open_generation(name, model()).ref
    put(index, alone, [row("b")])
    assert [ids_in(index, each) for each in (ref, alone)] == [[A], [B]]
    said = f"collection '{name}' has no embedding 'copies'; there are: main"
    with pytest.raises(ArgumentError, match=said):
        index.search(alone, axis(0)[None], k=1, embedding="copies")
    with pytest.raises(ModelMismatchError):
        index.create_collection(name, SEVERAL)
    with pytest.raises(ConflictError, match="is live"):
        index.drop_generation(ref)
    index.promote(alone)
    assert index.live(name) == alone
    assert [hit.key for hit in index.search(ref, direction(4, 0)[None], k=9, embedding="copies")[0]] == ["a"]
    index.drop_generation(ref)
    with pytest.raises(ModelMismatchError):
        index.search(ref, direction(4, 0)[None], k=1, embedding="copies")
    assert index.open_generation(name, two).ref == ref
    assert index.search(ref, direction(4, 0)[None], k=9, embedding="copies") == [[]], "its rows went, too"
    index.drop_collection(name)
    assert index.list_generations(name) == []
    with pytest.raises(TargetError, match="does not exist"):
        index.search(ref, direction(4, 0)[None], k=1, embedding="copies")


def test_the_next_process_finds_all_embeddings_in_a_folder_and_a_drop_leaves_no_files(tmp_path: Path) -> None:
    path = tmp_path / "milvus.db"
    with OpenBesideIndex(LiteIndex(str(path))) as index:
        ref = index.create_collection("photos", SEVERAL).ref
        put(index, ref, [whole_row("a", copies=2)])
    with OpenBesideIndex(LiteIndex(str(path))) as index:
        [[found]] = index.get_images(ref, [A]).values()
        assert (found.beside["copies"] == direction(4, 2)).all()
        assert [info.name for info in index.list_collections()] == ["photos"]
        index.drop_collection("photos")
    assert list((path / "collections").iterdir()) == []
