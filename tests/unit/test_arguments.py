"""Queries and searches as text: one set of rules for the command line and for tasks."""

import os
from pathlib import Path

import pytest

from pipeline import wiring
from pipeline.errors import ArgumentError
from pipeline.ports import MAX_HITS
from pipeline.service.arguments import Object, Query, Stored, read_pairs, read_query, read_search
from pipeline.service.search import SearchRequest
from pipeline.types import SearchFilter
from tests.unit.fakes import error_of

ID = "0a" * 16
REGION = f"{ID}:07"


def read_here(text: str) -> Query:
    """As the command line does, which can read files."""
    return read_query(text, locate_file=wiring.locate_file)


@pytest.mark.parametrize("read", [read_query, read_here])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://shop/a b/ü%20\n#?", Object(text="s3://shop/a b/ü%20\n#?", bucket="shop", key="a b/ü%20\n#?")),
        ("s3://shop//a", Object(text="s3://shop//a", bucket="shop", key="/a")),
        (ID, Stored(text=ID, id=ID)),
        (REGION, Stored(text=REGION, id=REGION)),
    ],
)
def test_objects_and_ids_are_read_alike_whoever_asks(read: object, text: str, expected: Query) -> None:
    assert callable(read)
    assert read(text) == expected


@pytest.mark.parametrize("read", [read_query, read_here])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s3://shop", "no key; s3://bucket/key is expected"),
        ("s3://shop/", "no key"),
        ("s3:///a.jpg", "no bucket"),
        ("f" * 31, "32 hex digits"),
        (ID.upper(), "32 hex digits"),
        (f"{ID}:7", "32 hex digits"),
    ],
)
def test_what_is_no_query_is_refused_alike(read: object, text: str, said: str) -> None:
    assert callable(read)
    assert said in error_of(lambda: read(text), ArgumentError)


def test_a_file_is_an_object_of_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.touch()
    for text in (str(path), path.as_uri()):
        assert read_here(text) == Object(text=text, bucket=str(tmp_path.resolve()), key="a.jpg")


def test_a_file_wins_over_an_id_that_looks_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(ID).touch()
    assert read_here(ID) == Object(text=ID, bucket=str(tmp_path.resolve()), key=ID)


def test_a_name_that_is_no_text_is_found_all_the_same(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.jpg")
    (tmp_path / name).touch()
    query = read_here(str(tmp_path / name))
    assert isinstance(query, Object)
    assert query.key.encode()


def test_a_file_of_this_machine_is_nothing_to_whoever_asks_from_another(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    said = error_of(lambda: read_query(str(tmp_path / "a.jpg")), ArgumentError)
    assert "s3://bucket/key or a stored image id" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty text"),
        ("/", "is a folder"),
        ("/no/such/file.jpg", "does not exist, and is no image id"),
        ("gs://shop/a.jpg", "scheme 'gs' is unknown"),
        ("x" * 5000, "File name too long"),
    ],
)
def test_what_is_no_file_is_said_to_be_none(text: str, said: str) -> None:
    message = error_of(lambda: read_here(text), ArgumentError)
    assert said in message
    assert len(message) < 500


def test_a_search_is_read_with_its_defaults_and_with_everything() -> None:
    assert read_search(collection="images") == SearchRequest(collection="images")
    assert read_search(
        collection="images", k=MAX_HITS, min_score=-1, bucket="shop", prefix="p", metadata={"a": "b"}
    ) == SearchRequest(
        collection="images",
        k=MAX_HITS,
        min_score=-1,
        where=SearchFilter(bucket="shop", key_prefix="p", metadata={"a": "b"}),
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"collection": "no-dashes"}, "collection name 'no-dashes'"),
        ({"k": 0}, f"k is 0; 1 to {MAX_HITS}"),
        ({"k": MAX_HITS + 1}, f"1 to {MAX_HITS}"),
        ({"min_score": 1.01}, "min_score is 1.01; a cosine from -1 to 1"),
        ({"min_score": float("nan")}, "min_score is nan"),
    ],
)
def test_a_search_out_of_range_is_refused_with_what_is_allowed(given: dict[str, object], said: str) -> None:
    arguments: dict[str, object] = {"collection": "images"} | given
    assert said in error_of(lambda: read_search(**arguments), ArgumentError)  # type: ignore[arg-type]


def test_pairs_are_cut_at_the_first_equals_sign() -> None:
    assert read_pairs(["camera=7", "note=a=b", "empty="], of="--metadata") == {
        "camera": "7",
        "note": "a=b",
        "empty": "",
    }
    for text in ("camera", "=7"):
        with pytest.raises(ArgumentError, match=f"--metadata {text}: NAME=VALUE"):
            read_pairs([text], of="--metadata")
