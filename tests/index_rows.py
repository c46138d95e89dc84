"""What tests put into an index and look up in it."""

from collections.abc import Sequence

from pipeline.ports import VectorIndex
from pipeline.ports.image_rows import rows_by_image
from pipeline.types import CollectionRef, IndexRow


def put(index: VectorIndex, ref: CollectionRef, rows: Sequence[IndexRow]) -> None:
    index.replace_images(ref, rows_by_image(rows))


def ids_in(index: VectorIndex, ref: CollectionRef) -> list[str]:
    """Of the images, in order."""
    return [image.ref.image_id for image in index.list_images(ref)]


def etags_in(
    index: VectorIndex, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
) -> dict[str, str]:
    return {id_: stored.etag for id_, stored in index.get_versions(ref, image_ids, latest=latest).items()}
