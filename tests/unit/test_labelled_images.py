"""Labelled images: read from folders and CSV files, embedded by the path of every image, nothing dropped."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.folder.store import FolderStore
from pipeline.errors import ArgumentError, ModelError
from pipeline.ports import ImageLimits, ViewFinder
from pipeline.service.embed_labelled import EmbeddedImages, EvaluationPorts, embed_labelled
from pipeline.service.labelled_images import Columns, LabelledSource, read_source
from pipeline.types import Capability
from tests.unit.fakes import (
    BLACK,
    BLUE,
    CONCURRENCY,
    RED,
    SPEC,
    FakeEmbedder,
    distinct_png,
    error_of,
    four_quarters,
    jpeg,
    png,
)
from tests.unit.test_views import QuarterFinder

STORE = FolderStore()


@pytest.fixture
def people(tmp_path: Path) -> Path:
    folder = tmp_path / "people"
    for number, name in enumerate(["ann/1.png", "ann/deep/2.png", "bob/1.png", "bob/broken.jpg"]):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(distinct_png(number))
    (folder / "bob" / "broken.jpg").write_bytes(jpeg(RED)[:100])
    (folder / "nobody.png").write_bytes(png(BLUE))
    (folder / "people.csv").write_text("path,person,age\n")
    return folder


def read(source: Path, columns: Columns | None = None) -> LabelledSource:
    return read_source(str(source), STORE, columns or Columns())


def write_csv(folder: Path, *lines: str) -> Path:
    file = folder / "people.csv"
    file.write_text("\n".join(["path,person,age", *lines]), encoding="utf-8")
    return file


def embed(
    source: LabelledSource, embedder: FakeEmbedder | None = None, finder: ViewFinder | None = None
) -> EmbeddedImages:
    ports = EvaluationPorts(
        store=STORE, embedder=embedder or FakeEmbedder(), concurrency=CONCURRENCY, finder=finder
    )
    return embed_labelled(source, ports, ImageLimits())


def test_a_folder_names_its_persons_and_other_images_are_counted(people: Path) -> None:
    source = read(people)
    persons = Counter(image.person for image in source.images)
    assert persons == {"ann": 2, "bob": 2}
    assert source.unlabelled == 1  # the CSV file is no image


def test_an_image_that_lies_alone_may_be_somebody_of_its_own(people: Path) -> None:
    source = read_source(str(people), STORE, Columns(), alone_is_a_person=True)
    assert Counter(image.person for image in source.images) == {"ann": 2, "bob": 2, "nobody.png": 1}
    assert source.unlabelled == 0


def test_a_csv_file_names_persons_and_subgroups(people: Path) -> None:
    file = write_csv(
        people, "ann/1.png,Ann, 30 ", "./bob/1.png,Bob,40", f"{people}/nobody.png,Cid,", "x.png,,"
    )
    source = read(file, Columns(subgroups=["age"]))
    assert [(image.person, image.subgroups["age"]) for image in source.images] == [
        ("Ann", "30"),
        ("Bob", "40"),
        ("Cid", ""),
    ]
    assert source.unlabelled == 1
    found = embed(source)
    assert found.labelled.names == ["Ann", "Bob", "Cid"]
    assert found.labelled.subgroups["age"].tolist() == ["30", "40", ""]
    assert found.labelled.keys == ["ann/1.png", "bob/1.png", "nobody.png"]


def test_another_column_may_name_the_persons(people: Path) -> None:
    file = write_csv(people, "ann/1.png,Ann,30")
    assert read(file, Columns(person="age")).images[0].person == "30"


def test_what_a_spreadsheet_writes_is_read(people: Path) -> None:
    (people / "people.csv").write_bytes(b'\xef\xbb\xbfpath,person\r\n"ann/1.png","Ann, A."\r\n')
    assert [image.person for image in read(people / "people.csv").images] == ["Ann, A."]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "no image has a label (0 have none)"),
        (["ann/1.png,"], "no image has a label (1 have none)"),
        (["ann/1.png,Ann,3", "./ann/1.png,Bob,3"], "'ann/1.png' stands in it twice"),
        ([",Ann,3"], "line 2: no path is given"),
        (["ann/1.png," + "x" * 1001], "line 2: 'person' is over 1000 characters"),
        (['"ann/1.png,Ann'], "after line 1, this cannot be read as CSV"),
    ],
)
def test_a_csv_file_that_cannot_be_meant_is_refused(people: Path, lines: list[str], says: str) -> None:
    assert says in error_of(lambda: read(write_csv(people, *lines)), ArgumentError)


def test_a_csv_file_without_the_columns_is_refused(people: Path) -> None:
    file = write_csv(people, "ann/1.png,Ann,30")
    message = error_of(lambda: read(file, Columns(subgroups=["sex"])), ArgumentError)
    assert message.endswith("there is no column 'sex'; it has: path, person, age")
    file.write_bytes(b"path,person\n\xff,a")
    assert "this is not UTF-8" in error_of(lambda: read(file), ArgumentError)
    assert "No such file" in error_of(lambda: read(people / "other.csv"), ArgumentError)


def test_a_folder_has_no_columns_and_one_without_folders_no_labels(people: Path, tmp_path: Path) -> None:
    assert "needs a CSV file" in error_of(lambda: read(people, Columns(subgroups=["age"])), ArgumentError)
    assert "no image has a label (2 have none)" in error_of(lambda: read(people / "bob"), ArgumentError)


def test_images_that_give_no_vector_are_kept_with_their_reasons(people: Path) -> None:
    found = embed(read(people))
    assert found.labelled.names == ["ann", "bob"]
    assert found.labelled.keys == ["ann/1.png", "ann/deep/2.png", "bob/1.png"]
    assert [(failed.image.key, failed.reason) for failed in found.failed] == [("bob/broken.jpg", "truncated")]


def test_a_file_that_a_csv_names_and_that_is_not_there_is_a_failure(people: Path) -> None:
    found = embed(read(write_csv(people, "ann/1.png,Ann,1", "gone.png,Bob,1", "../x.png,Cid,1")))
    assert [(failed.image.person, failed.reason) for failed in found.failed] == [
        ("Bob", "not_found"),
        ("Cid", "not_found"),
    ]


def test_vectors_are_those_that_ingest_would_store(people: Path) -> None:
    found, embedder = embed(read(people)), FakeEmbedder()
    assert found.labelled.vectors.shape == (3, embedder.spec.dim)
    assert np.linalg.norm(found.labelled.vectors, axis=1) == pytest.approx(np.ones(3))
    assert embedder.spec.dim == 13


def test_without_one_vector_the_first_reason_is_told(people: Path) -> None:
    dark = FakeEmbedder()
    dark.answer_with(float("nan"), lambda _pixels: True)
    message = error_of(lambda: embed(read(people), dark), ArgumentError)
    assert "none of 4 images gave a vector; the first is 'ann/1.png': not_finite" in message


def test_a_model_of_views_gives_the_best_view_of_an_image_and_one_without_any_is_a_failure(
    people: Path,
) -> None:
    (people / "bob" / "1.png").write_bytes(four_quarters([BLACK, RED, BLACK, BLUE]))
    (people / "bob" / "broken.jpg").write_bytes(four_quarters([BLACK] * 4))
    of_views = dataclasses.replace(SPEC, capabilities=(Capability.IMAGES, Capability.VIEWS))
    found = embed(read(people), FakeEmbedder(of_views), QuarterFinder())
    [failed] = found.failed
    assert (failed.image.key, failed.reason) == ("bob/broken.jpg", "nothing_found")
    [place] = [place for place, key in enumerate(found.labelled.keys) if key == "bob/1.png"]
    red = FakeEmbedder().embed_images(np.broadcast_to(np.array(RED, np.uint8)[:, None, None], (1, 3, 8, 8)))
    assert found.labelled.vectors[place] == pytest.approx(red[0], abs=0.01)
    assert found.several_views == 3  # the others are bright everywhere


def test_a_model_of_views_without_a_finder_is_refused(people: Path) -> None:
    of_views = dataclasses.replace(SPEC, capabilities=(Capability.IMAGES, Capability.VIEWS))
    assert "nothing here finds them" in error_of(
        lambda: embed(read(people), FakeEmbedder(of_views)), ModelError
    )
