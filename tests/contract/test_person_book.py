"""What every book of persons keeps to: a face is one person's at most, and a person has a hundred at most."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.adapters.ledger.sql_ledger import open_ledger
from pipeline.errors import LimitError, NotFoundError
from pipeline.ports import PersonBook
from pipeline.ports.image_rows import MAX_VIEWS, view_row_id
from pipeline.testing.memory_persons import MemoryPersonBook
from pipeline.types import MAX_FACES_OF_PERSON, MAX_TAGS, Box, Person, PersonFace
from tests.contract.ledger_databases import empty_tables

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
ANNA = Person(collection="faces", person_id="anna", created_at=NOON)
BERTA = replace(ANNA, person_id="Berta:1")
FACE = PersonFace(row_id="0" * 32 + ":00", etag="e1", box=Box(left=1, top=2, width=30, height=40))


def faces(count: int, *, start: int = 1) -> list[PersonFace]:
    return [PersonFace(row_id=f"{number:032x}:00") for number in range(start, start + count)]


def ids(of: list[PersonFace]) -> list[str]:
    return [face.row_id for face in of]


@pytest.fixture
def book(memory_or_database: str) -> Iterator[PersonBook]:
    """With two persons without a face."""
    if not memory_or_database:
        yield with_two(MemoryPersonBook())
        return
    empty_tables(memory_or_database)
    with open_ledger(memory_or_database) as ledger:
        yield with_two(ledger.persons)


def with_two(book: PersonBook) -> PersonBook:
    assert book.create(ANNA)
    assert book.create(BERTA)
    return book


def test_a_person_is_made_once_and_found_by_collection_and_id(book: PersonBook) -> None:
    assert book.create(ANNA), "the answer of an earlier try was lost"
    assert not book.create(replace(ANNA, created_at=NOON + timedelta(seconds=1)))
    assert book.find("faces", "anna") == ANNA
    assert book.find("faces", "ANNA") is None
    assert book.find("others", "anna") is None


def test_persons_are_listed_by_id_in_pages_and_counted(book: PersonBook) -> None:
    book.create(replace(ANNA, collection="others"))
    assert book.page("faces", limit=5) == [BERTA, ANNA], "in order of bytes"
    assert book.page("faces", limit=1) == [BERTA]
    assert book.page("faces", limit=5, after="Berta:1") == [ANNA]
    assert [book.count(name) for name in ("faces", "others", "none")] == [2, 1, 0]


def test_a_face_is_kept_with_its_version_and_its_box(book: PersonBook) -> None:
    bare = faces(1)[0]
    assert book.add_faces("faces", "anna", [bare, FACE]) == {FACE.row_id: "anna", bare.row_id: "anna"}
    assert book.faces_of("faces", ["anna", "Berta:1"]) == {"anna": [FACE, bare]}
    assert book.owners("faces", [FACE.row_id, "f" * 32]) == {FACE.row_id: ("anna", FACE)}
    assert book.owners("others", [FACE.row_id]) == {}


def test_a_face_stays_with_the_person_who_had_it_first(book: PersonBook) -> None:
    book.add_faces("faces", "anna", [FACE])
    other = replace(FACE, etag="e2")
    assert book.add_faces("faces", "Berta:1", [other, *faces(1)])[FACE.row_id] == "anna"
    assert book.add_faces("faces", "anna", [other]) == {FACE.row_id: "anna"}, "again"
    assert book.owners("faces", [FACE.row_id])[FACE.row_id][1] == FACE
    assert len(book.faces_of("faces", ["Berta:1"])["Berta:1"]) == 1


def test_what_is_gone_makes_room_and_can_be_anybody_s(book: PersonBook) -> None:
    old, new = faces(100), faces(2, start=200)
    book.add_faces("faces", "anna", old)
    with pytest.raises(LimitError, match="102 faces"):
        book.add_faces("faces", "anna", new)
    assert len(book.faces_of("faces", ["anna"])["anna"]) == MAX_FACES_OF_PERSON, "none of them was added"
    book.add_faces("faces", "anna", new, gone=ids(old[:2]))
    assert len(book.faces_of("faces", ["anna"])["anna"]) == MAX_FACES_OF_PERSON
    assert book.add_faces("faces", "Berta:1", old[:1]) == {old[0].row_id: "Berta:1"}


def test_a_face_is_taken_from_its_person_alone(book: PersonBook) -> None:
    book.add_faces("faces", "anna", [FACE])
    for _ in range(2):
        book.remove_faces("faces", "Berta:1", [FACE.row_id])
    assert book.owners("faces", [FACE.row_id])
    for _ in range(2):
        book.remove_faces("faces", "anna", [FACE.row_id])
    assert book.owners("faces", [FACE.row_id]) == {}


def test_faces_of_images_that_left_are_nobody_s_and_no_others(book: PersonBook) -> None:
    left, other = "a" * 32, "a" * 31 + "b"
    views = [PersonFace(row_id=view_row_id(left, place)) for place in (0, 7, MAX_VIEWS - 1)]
    stays = [PersonFace(row_id=view_row_id(other, 0)), FACE]
    book.add_faces("faces", "anna", [*views[:2], *stays])
    book.add_faces("faces", "Berta:1", [*views[2:], PersonFace(row_id=left)])
    book.create(replace(ANNA, collection="others"))
    book.add_faces("others", "anna", views)
    for _ in range(2):
        book.forget_images("faces", [left])
    assert sorted(book.owners("faces", ids([*views, *stays]))) == sorted(ids(stays))
    assert book.owners("faces", [left]) == {}
    assert len(book.owners("others", ids(views))) == len(views)
    book.forget_images("faces", [])
    book.forget_images("faces", [f"{number:032x}" for number in range(1000)])
    assert sorted(book.owners("faces", ids(stays))) == [stays[0].row_id], "FACE is of the first of them"


def test_a_person_is_deleted_with_what_is_said_of_faces(book: PersonBook) -> None:
    book.add_faces("faces", "anna", [FACE])
    for _ in range(2):
        book.delete("faces", "anna")
    assert (book.find("faces", "anna"), book.find("faces", "Berta:1")) == (None, BERTA)
    assert book.owners("faces", [FACE.row_id]) == {}
    with pytest.raises(NotFoundError, match="no person 'anna'"):
        book.add_faces("faces", "anna", [FACE])


def test_a_collection_is_forgotten_with_persons_and_tags_and_no_other_is(book: PersonBook) -> None:
    book.create(replace(ANNA, collection="others"))
    book.add_faces("faces", "anna", [FACE])
    for name in ("faces", "others"):
        book.set_tags(name, {"team": "one"})
    for _ in range(2):
        book.forget_collection("faces")
    assert [book.count(name) for name in ("faces", "others")] == [0, 1]
    assert [book.tags(name) for name in ("faces", "others")] == [{}, {"team": "one"}]
    assert book.owners("faces", [FACE.row_id]) == {}


def test_tags_are_added_changed_and_removed_and_two_hundred_are_allowed(book: PersonBook) -> None:
    book.set_tags("faces", {"team": "one", "Ä:b": ""})
    book.set_tags("faces", {"team": "two"})
    assert book.tags("faces") == {"team": "two", "Ä:b": ""}
    book.remove_tags("faces", ["team", "never there"])
    assert book.tags("faces") == {"Ä:b": ""}
    many = {f"k{number}": "v" for number in range(MAX_TAGS)}
    with pytest.raises(LimitError, match="201 tags"):
        book.set_tags("faces", many)
    assert book.tags("faces") == {"Ä:b": ""}
    assert book.tags("others") == {}


def test_of_two_who_add_at_once_one_gets_the_face_and_nobody_more_than_a_hundred(book: PersonBook) -> None:
    """Each asks for faces that another asks for, too, and both persons would get too many."""

    def add(number: int) -> None:
        with suppress(LimitError):
            book.add_faces("faces", ("anna", "Berta:1")[number % 2], faces(60, start=1 + 30 * number))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(4)))
    held = book.faces_of("faces", ["anna", "Berta:1"])
    every = [face.row_id for of in held.values() for face in of]
    assert len(every) == len(set(every))
    assert all(len(of) <= MAX_FACES_OF_PERSON for of in held.values())


def test_thousands_of_faces_are_asked_for_at_once(book: PersonBook) -> None:
    book.add_faces("faces", "anna", [FACE])
    every = [FACE.row_id, *(f"{number:032x}:00" for number in range(1, 16_384))]
    assert list(book.owners("faces", every)) == [FACE.row_id]
