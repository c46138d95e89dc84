"""The rows of one image. A whole-image model has one, under the image id; another has one for each view."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from pipeline.errors import ConfigError
from pipeline.types import IndexRow, StoredVersion

MAX_VIEWS = 100  # of one image: two digits, 00..99


def view_row_id(image_id: str, place: int) -> str:
    """The id of the row of one view. Args: `place` among the views of its image, 0..99."""
    return f"{image_id}:{place:02}"


def view_row_ids(image_id: str) -> list[str]:
    """All that there can be, in order."""
    return [view_row_id(image_id, place) for place in range(MAX_VIEWS)]


def view_place_of(row_id: str) -> int:
    """The inverse, 0 for the row of a whole image."""
    return int(row_id.partition(":")[2] or 0)


def image_id_of_row(row_id: str) -> str:
    return row_id.partition(":")[0]


def rows_by_image(rows: Iterable[IndexRow]) -> dict[str, list[IndexRow]]:
    """Args: `rows` in any order. Those of one image keep theirs."""
    images: dict[str, list[IndexRow]] = {}
    for row in rows:
        images.setdefault(image_id_of_row(row.id), []).append(row)
    return images


def stored_versions(etags: Iterable[tuple[str, str]]) -> dict[str, StoredVersion]:
    """What is stored of each image. Args: `etags` are row ids with the ETag of each row, in any order."""
    found: dict[str, list[tuple[str, str]]] = {}
    for row_id, etag in etags:
        found.setdefault(image_id_of_row(row_id), []).append((row_id, etag))
    return {image_id: _stored_version(rows) for image_id, rows in found.items()}


def _stored_version(rows: Sequence[tuple[str, str]]) -> StoredVersion:
    etag, *others = {etag for _, etag in rows}
    places = frozenset(view_place_of(row_id) for row_id, _ in rows)
    return StoredVersion(etag="" if others else etag, rows=len(rows), places=places)


def stale_row_ids(
    images: Mapping[str, Sequence[IndexRow]],
    row_ids_of: Callable[[Sequence[str]], Iterable[str]],
    *,
    has_views: bool,
) -> list[str]:
    """Rows that images may have and that are not among their new ones.

    Args:
        images: the new rows of each, by image id.
        row_ids_of: ids that rows of these images have, or may have. Not asked for a model of whole images.
    """
    if not has_views:
        return [image_id for image_id, rows in images.items() if not rows]
    new = {row.id for rows in images.values() for row in rows}
    return [row_id for row_id in row_ids_of(list(images)) if row_id not in new]


def check_rows(collection: str, images: Mapping[str, Sequence[IndexRow]], *, has_views: bool) -> None:
    """Raises ConfigError: an image has rows that could not be found again to be replaced."""
    for image_id, rows in images.items():
        if not has_views and len(rows) == 1 and rows[0].id == image_id:
            continue  # nearly all there are, quickly
        ids = [row.id for row in rows]
        known = view_row_ids(image_id) if has_views else [image_id]
        if ids != known[: len(ids)] and not (set(ids) <= set(known) and ids == sorted(set(ids))):
            allowed = f"0 to {MAX_VIEWS} views" if has_views else "one vector"
            given = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
            raise ConfigError(
                f"collection {collection!r} holds {allowed} of each image; image {image_id} has rows {given}"
            )
