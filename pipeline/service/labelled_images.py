"""Which images show whom: a folder with one folder for each person, or a CSV file."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.errors import ArgumentError
from pipeline.ingest.selection import Selection
from pipeline.location import Location, local_path, parse_location, split_s3_url
from pipeline.ports import ObjectStore
from pipeline.types import ObjectRef

MAX_CSV_BYTES = 256 * 2**20
MAX_CELL_CHARS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledImage:
    """`ref` is None where only a CSV file names the image, and nobody has looked whether it is there."""

    bucket: str
    key: str
    person: str
    ref: ObjectRef | None = None
    subgroups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledSource:
    """`unlabelled` images are of nobody and are not read. `columns` are those of the subgroups."""

    name: str
    images: Sequence[LabelledImage]
    unlabelled: int
    columns: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """The names of columns in a CSV file."""

    path: str = "path"
    person: str = "person"
    subgroups: Sequence[str] = ()


def read_source(
    text: str, store: ObjectStore, columns: Columns, *, alone_is_a_person: bool = False
) -> LabelledSource:
    """Read `./people`, `s3://bucket/people/` or `labels.csv`.

    Args:
        alone_is_a_person: an image that lies in no folder shows somebody of its own. Else it is unlabelled.

    Raises:
        ArgumentError: it is none of them, or no image has a label.
    """
    if text.lower().endswith(".csv") and not text.startswith("s3://"):
        found = _read_csv(local_path(text), columns)
    elif columns.subgroups:
        raise ArgumentError(f"--subgroup needs a CSV file with that column; {text} is a folder")
    else:
        found = _list_folder(parse_location(text), store, alone_is_a_person=alone_is_a_person)
    if not found.images:
        raise ArgumentError(
            f"{text}: no image has a label ({found.unlabelled} have none); a folder needs one folder for "
            "each person, and a CSV file the columns path and person"
        )
    return found


def _list_folder(location: Location, store: ObjectStore, *, alone_is_a_person: bool) -> LabelledSource:
    images, unlabelled, selection = [], 0, Selection()
    for ref in store.list_objects(location.bucket, location.prefix):
        if not selection.wants(ref):
            continue
        folder, slash, _ = ref.key.removeprefix(location.prefix).lstrip("/").partition("/")
        person = folder if slash or alone_is_a_person else ""
        if person:
            images.append(LabelledImage(bucket=ref.bucket, key=ref.key, person=person, ref=ref))
        else:
            unlabelled += 1
    return LabelledSource(name=location.url, images=images, unlabelled=unlabelled)


def _read_csv(path: Path, columns: Columns) -> LabelledSource:
    rows = list(_rows(path, columns))
    images = [
        _image_of_row(row[columns.path], row[columns.person], path, _subgroups(row, columns))
        for row in rows
        if row[columns.person]
    ]
    known: set[tuple[str, str]] = set()
    for image in images:
        if (image.bucket, image.key) in known:
            raise ArgumentError(f"{path}: {image.key!r} stands in it twice")
        known.add((image.bucket, image.key))
    return LabelledSource(
        name=str(path), images=images, unlabelled=len(rows) - len(images), columns=columns.subgroups
    )


def _rows(path: Path, columns: Columns) -> Iterator[Mapping[str, str]]:
    reader = csv.DictReader(io.StringIO(_text_of(path), newline=""), strict=True)
    wanted = (columns.path, columns.person, *columns.subgroups)
    try:
        missing = [name for name in wanted if name not in (reader.fieldnames or ())]
        if missing:
            has = ", ".join(reader.fieldnames or ()) or "none"
            raise ArgumentError(f"{path}: there is no column {missing[0]!r}; it has: {has}")
        for row in reader:
            cells = {name: (row[name] or "").strip() for name in wanted}
            too_long = next((name for name, cell in cells.items() if len(cell) > MAX_CELL_CHARS), None)
            if too_long or not cells[columns.path]:
                fault = (
                    f"{too_long!r} is over {MAX_CELL_CHARS} characters" if too_long else "no path is given"
                )
                raise ArgumentError(f"{path}: line {reader.line_num}: {fault}")
            yield cells
    except csv.Error as err:
        raise ArgumentError(f"{path}: after line {reader.line_num}, this cannot be read as CSV") from err


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_CSV_BYTES:
            raise ArgumentError(f"{path}: {path.stat().st_size} bytes are over {MAX_CSV_BYTES}")
        return path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark at the beginning
    except OSError as err:
        raise ArgumentError(f"{path}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ArgumentError(f"{path}: this is not UTF-8") from err


def _image_of_row(name: str, person: str, file: Path, subgroups: Mapping[str, str]) -> LabelledImage:
    """A path is relative to the CSV file, absolute, or s3://bucket/key."""
    if name.startswith("s3://"):
        bucket, key = split_s3_url(name)
    elif name.startswith("/"):
        bucket, key = str(PurePosixPath(name).parent), PurePosixPath(name).name
    else:
        bucket, key = str(file.resolve().parent), name.removeprefix("./")
    return LabelledImage(bucket=bucket, key=key, person=person, subgroups=subgroups)


def _subgroups(row: Mapping[str, str], columns: Columns) -> Mapping[str, str]:
    return {column: row[column] for column in columns.subgroups}
