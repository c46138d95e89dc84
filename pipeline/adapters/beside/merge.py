"""What is stored of an image, by all its embeddings. They are written one by one, so they may differ."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import merge
from itertools import groupby

from pipeline.types import IndexedImage, IndexRow, StoredVersion


def merge_versions(of_each: Sequence[Mapping[str, StoredVersion]]) -> Mapping[str, StoredVersion]:
    """The version of an image is empty unless all its embeddings are of the same one."""
    image_ids = dict.fromkeys(image_id for versions in of_each for image_id in versions)
    return {
        image_id: _one_version([found for versions in of_each if (found := versions.get(image_id))], of_each)
        for image_id in image_ids
    }


def merge_listings(of_each: Sequence[Iterable[IndexedImage]]) -> Iterator[IndexedImage]:
    """The same of listings, each in order of the image id."""
    in_order = merge(*of_each, key=_image_id)
    for _, found in groupby(in_order, key=_image_id):
        first, *others = found
        versions = {image.ref.etag for image in (first, *others)}
        is_whole = len(others) + 1 == len(of_each) and len(versions) == 1
        yield first if is_whole else replace(first, ref=replace(first.ref, etag=""))


def merge_rows(
    first: Mapping[str, Sequence[IndexRow]], beside: Mapping[str, Iterable[IndexRow]]
) -> Mapping[str, Sequence[IndexRow]]:
    """The rows with their further embeddings. One whose embeddings are of several versions is left out.

    Args:
        first: rows by image id, one of each.
        beside: rows of each further embedding, by its name.
    """
    by_id = {embedding: {row.id: row for row in rows} for embedding, rows in beside.items()}
    whole: dict[str, Sequence[IndexRow]] = {}
    for image_id, [row] in first.items():
        others = {embedding: rows.get(row.id) for embedding, rows in by_id.items()}
        same = {
            embedding: other.vector
            for embedding, other in others.items()
            if other is not None and other.ref == row.ref
        }
        if len(same) == len(by_id):
            whole[image_id] = [replace(row, beside=same)]
    return whole


def _one_version(found: Sequence[StoredVersion], of_each: Sequence[object]) -> StoredVersion:
    first, *others = found
    is_whole = len(found) == len(of_each) and all(other == first for other in others)
    return first if is_whole else replace(first, etag="")


def _image_id(image: IndexedImage) -> str:
    return image.ref.image_id
