"""Several embeddings of an image, kept in several places: a process may be killed between any two of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.adapters.beside.index import BesideIndex
from pipeline.errors import ConfigError, ConflictError, ModelError, TargetError
from pipeline.names import check_collection_name, check_embedding_name, check_stored_name
from pipeline.testing.memory_index import MemoryIndex
from pipeline.types import CollectionRef, ModelBeside, ModelSpec, StoredVersion
from tests.contract.indexes import axis, model, row, views_model
from tests.contract.several_embeddings import COLOURS, COPIES, SEVERAL, whole_row
from tests.index_rows import put

NAME = "photos"
REF = CollectionRef(name=NAME, fingerprint=SEVERAL.fingerprint)
CHANGES = (
    *("create_collection", "open_generation", "promote", "drop_generation", "drop_collection"),
    *("replace_images", "delete_images"),
)


class Killed(BaseException):
    """The process is gone."""


class Mortal:
    """An index whose process is killed at its n-th change of the one below, before it or after it."""

    def __init__(self, index: MemoryIndex, *, at: int, before: bool) -> None:
        self._index = index
        self._left = at
        self._before = before

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._index, name)
        return method if name not in CHANGES else lambda *args, **named: self._change(method, args, named)

    def _change(self, method: Callable[..., Any], args: Any, named: Any) -> Any:
        if self._left == 0 and self._before:
            raise Killed
        answer = method(*args, **named)
        if self._left == 0:
            raise Killed
        self._left -= 1
        return answer


KILLS = [(at, before) for at in range(3) for before in (True, False)]


def killed(below: MemoryIndex, operation: Callable[[BesideIndex], object], at: int, before: bool) -> None:
    with pytest.raises(Killed):
        operation(BesideIndex(Mortal(below, at=at, before=before)))


def filled(*keys: str) -> MemoryIndex:
    below = MemoryIndex()
    index = BesideIndex(below)
    index.create_collection(NAME, SEVERAL)
    put(index, REF, [whole_row(key) for key in keys])
    return below


def held(below: MemoryIndex) -> dict[str, list[tuple[str, str]]]:
    """Key and version of all rows, by the place where they are."""
    return {
        name: sorted((row.ref.key, row.ref.etag) for row in generation.rows.values())
        for name, generation in below._generations.items()
    }


def held_everywhere(below: MemoryIndex, *rows: tuple[str, str]) -> bool:
    return len(held(below)) == 3 and all(found == list(rows) for found in held(below).values())


@pytest.mark.parametrize(("at", "before"), KILLS)
def test_a_write_that_was_cut_short_is_in_no_version_and_made_good(at: int, before: bool) -> None:
    below, new = filled("a", "b"), [whole_row("a", etag="e2"), whole_row("c", etag="e2")]
    killed(below, lambda index: put(index, REF, new), at, before)
    index = BesideIndex(below)
    ids = [row(key).id for key in "abc"]
    versions = index.get_versions(REF, ids)
    is_done, is_begun = (at, before) == (2, False), (at, before) != (0, True)
    etags = {id_: version.etag for id_, version in versions.items()}
    of_new = "e2" if is_done else ""
    assert etags == {ids[0]: of_new if is_begun else "e1", ids[1]: "e1"} | (
        {ids[2]: of_new} if is_begun else {}
    )
    assert {image.ref.image_id: image.ref.etag for image in index.list_images(REF)} == etags
    assert [image.ref.image_id for image in index.list_images(REF)] == sorted(etags)
    assert set(index.get_images(REF, ids)) == {id_ for id_, etag in etags.items() if etag}
    put(index, REF, new)
    assert held_everywhere(below, ("a", "e2"), ("b", "e1"), ("c", "e2"))


def test_an_object_that_goes_back_to_its_former_version_after_a_write_that_was_cut_short() -> None:
    below = filled("a")
    killed(below, lambda index: put(index, REF, [whole_row("a", etag="e2")]), 1, True)
    assert BesideIndex(below).get_versions(REF, [row("a").id])[row("a").id].etag == "", "not e1 either"


@pytest.mark.parametrize(("at", "before"), KILLS)
def test_what_a_write_left_of_a_new_image_is_listed_and_deleted(at: int, before: bool) -> None:
    """Its object may be gone by then, so no write makes it good."""
    below = filled("b")
    killed(below, lambda index: put(index, REF, [whole_row("a")]), at, before)
    index = BesideIndex(below)
    doomed = [image.ref.image_id for image in index.list_images(REF) if image.ref.key == "a"]
    index.delete_images(REF, doomed)
    assert held_everywhere(below, ("b", "e1"))


@pytest.mark.parametrize(("at", "before"), KILLS)
def test_a_deletion_that_was_cut_short_is_in_no_version_and_finished(at: int, before: bool) -> None:
    below, ids = filled("a", "b"), [row("a").id]
    killed(below, lambda index: index.delete_images(REF, ids), at, before)
    index = BesideIndex(below)
    is_done, is_begun = (at, before) == (2, False), (at, before) != (0, True)
    whole = {ids[0]: StoredVersion(etag="" if is_begun else "e1", rows=1)}
    assert index.get_versions(REF, ids) == ({} if is_done else whole)
    assert [image.ref.key for image in index.list_images(REF) if image.ref.key == "a"] == ["a"] * (
        not is_done
    )
    index.delete_images(REF, ids)
    assert held_everywhere(below, ("b", "e1"))


@pytest.mark.parametrize(("at", "before"), KILLS)
@pytest.mark.parametrize("finish", ["open", "drop"])
def test_an_opening_that_was_cut_short_is_finished_or_dropped(at: int, before: bool, finish: str) -> None:
    below = MemoryIndex()
    killed(below, lambda index: index.create_collection(NAME, SEVERAL), at, before)
    index = BesideIndex(below)
    if finish == "open":
        index.open_generation(NAME, SEVERAL)
        put(index, REF, [whole_row("a")])
        assert held_everywhere(below, ("a", "e1"))
        return
    if (at, before) != (0, True):
        index.drop_collection(NAME)
    assert held(below) == {}


@pytest.mark.parametrize(("at", "before"), KILLS)
@pytest.mark.parametrize("of_generation", [True, False])
def test_a_drop_that_was_cut_short_leaves_nothing_once_it_is_repeated(
    at: int, before: bool, of_generation: bool
) -> None:
    below = filled("a", "b")
    BesideIndex(below).open_generation(NAME, model())
    if of_generation:
        BesideIndex(below).promote(CollectionRef(name=NAME, fingerprint=model().fingerprint))

    def drop(index: BesideIndex) -> None:
        index.drop_generation(REF) if of_generation else index.drop_collection(NAME)

    killed(below, drop, at, before)
    if (at, before) != (2, False):
        drop(BesideIndex(below))
    assert list(held(below)) == (["photos__a1a1a1a1"] if of_generation else [])


def test_what_a_drop_left_answers_with_clear_words_and_can_be_filled_again() -> None:
    below = filled("a")
    killed(below, lambda index: index.drop_collection(NAME), 1, True)
    index = BesideIndex(below)
    said = "collection 'photos' has lost embedding 'colours', because a drop of it was cut short"
    for operation in (
        lambda: index.search(REF, COLOUR[None], k=1, embedding="colours"),
        lambda: index.get_rows(REF, [], embedding="colours"),
        lambda: index.get_versions(REF, [row("a").id]),
        lambda: put(index, REF, [whole_row("a")]),
        lambda: index.promote(REF),
        lambda: index.flush(REF),
    ):
        with pytest.raises(TargetError, match=said):
            operation()
    index.create_collection(NAME, SEVERAL)
    assert index.get_versions(REF, [row("a").id])[row("a").id].etag == "", "it is to be written anew"
    put(index, REF, [whole_row("a")])
    assert held_everywhere(below, ("a", "e1"))


COLOUR = axis(0)[:3]


def test_a_live_generation_loses_no_part_to_a_drop_that_is_refused() -> None:
    below = filled("a")
    with pytest.raises(ConflictError, match="is live"):
        BesideIndex(below).drop_generation(REF)
    assert held_everywhere(below, ("a", "e1"))


def test_models_that_cannot_be_beside_each_other_are_refused_and_nothing_is_made() -> None:
    below = MemoryIndex()
    index = BesideIndex(below)
    for spec, said in (
        (replace(views_model(), beside=SEVERAL.beside), "model 'faces' looks at parts of an image"),
        (beside(ModelBeside(name="faces", spec=views_model())), "model 'faces' looks at parts"),
        (beside(*reversed(SEVERAL.beside)), "each once, in order of their names"),
        (beside(*SEVERAL.beside[:1] * 2), "each once"),
        (beside(ModelBeside(name="of__copies", spec=COPIES)), "embedding name 'of__copies'"),
    ):
        for make in (index.create_collection, index.open_generation):
            with pytest.raises((ModelError, ConfigError), match=said):
                make(NAME, spec)
    assert held(below) == {}


def beside(*others: ModelBeside) -> ModelSpec:
    return replace(model(), beside=others)


def test_a_row_with_an_embedding_that_its_generation_has_not_is_refused() -> None:
    index = BesideIndex(MemoryIndex())
    alone = index.create_collection(NAME, model()).ref
    with pytest.raises(ConfigError, match="holds one embedding of each image; the row of 'a' has colours"):
        put(index, alone, [replace(row("a"), beside={"colours": COLOUR})])
    put(index, alone, [row("a")])


def test_names_of_collections_of_embeddings_and_of_what_is_kept_of_them() -> None:
    assert check_stored_name("photos__a1b2c3d4__copies") == "photos__a1b2c3d4__copies"
    assert check_stored_name("photos") == "photos"
    for bad in ("photos__a1b2c3d4", "photos__a1b2c3d4__Copies", "photos____copies", "a__b__a1b2c3d4__copies"):
        with pytest.raises(ConfigError):
            check_stored_name(bad)
    with pytest.raises(ConfigError):
        check_collection_name("photos__a1b2c3d4__copies")
    for good in ("copies", "c", "near_copies_2", "a" * 32):
        assert check_embedding_name(good) == good
    for bad in (
        "",
        "_copies",
        "copies_",
        "near__copies",
        "Copies",
        "2copies",
        "near-copies",
        "main",
        "a" * 33,
        "ä",
    ):
        with pytest.raises(ConfigError, match="embedding name"):
            check_embedding_name(bad)


def test_every_place_of_a_generation_has_a_name_that_milvus_takes() -> None:
    index = BesideIndex(below := MemoryIndex())
    index.create_collection("a" * 100, beside(ModelBeside(name="c" * 32, spec=COLOURS)))
    assert max(len(name) for name in held(below)) <= 255


def test_where_there_is_one_embedding_each_call_goes_through_as_it_is() -> None:
    noted = Noted(MemoryIndex())
    index = BesideIndex(noted)
    ref = index.create_collection(NAME, model()).ref
    put(index, ref, [row("a")])
    noted.calls.clear()
    put(index, ref, [row("a")])
    index.get_versions(ref, [row("a").id])
    index.get_images(ref, [row("a").id])
    index.get_rows(ref, [row("a").id])
    list(index.list_images(ref))
    index.search(ref, axis(0)[None], k=1)
    index.delete_images(ref, [row("a").id])
    index.flush(ref)
    index.promote(ref)
    index.check_generation(ref)
    index.live(NAME)
    index.get_collection(NAME)
    index.drop_collection(NAME)
    assert noted.calls == [
        "replace_images", "get_versions", "get_images", "get_rows", "list_images", "search", "delete_images",
        "flush", "promote", "check_generation", "live", "get_collection", "list_generations",
        "drop_collection",
    ]  # fmt: skip


class Noted:
    def __init__(self, index: MemoryIndex) -> None:
        self._index = index
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._index, name)
