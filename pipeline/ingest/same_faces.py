"""Which face of another generation a face is: its number stays, and so does its id.

Another detector may order faces in another way, miss one or find one more. A face is the same when it lies in
the same place of the same version of the picture.
"""

from collections.abc import Collection, Mapping, Sequence

from pipeline.kept_face import box_of_key
from pipeline.ports import VectorIndex
from pipeline.ports.image_rows import MAX_VIEWS, view_place_of
from pipeline.types import (
    SAME_PLACE,
    Box,
    CollectionRef,
    Embedded,
    IndexRow,
    ObjectRef,
    View,
    place_of,
    split_metadata,
)


def face_of_key(views: Sequence[View], key: str) -> Sequence[View]:
    """Of a picture that is kept for one face, that face, if it is found. Of any other picture, all."""
    wanted = box_of_key(key)
    if wanted is None:
        return views
    overlaps = [(view.box.overlap(wanted), view) for view in views if view.box is not None]
    best = max(overlaps, key=lambda found: found[0], default=None)
    return [best[1]] if best is not None and best[0] >= SAME_PLACE else []


def metadata_of_kept(
    refs: Sequence[ObjectRef], target: CollectionRef, index: VectorIndex
) -> Mapping[str, Mapping[str, str]]:
    """What came with a face and is in no object, by image id. The live generation is asked first."""
    image_ids = [ref.image_id for ref in refs if box_of_key(ref.key) is not None]
    found: dict[str, Mapping[str, str]] = {}
    if not image_ids:
        return found
    for info in sorted(index.list_generations(target.name), key=lambda info: not info.live):
        for image_id, rows in index.get_images(info.ref, image_ids).items():
            found.setdefault(image_id, split_metadata(rows[0].metadata)[0])
    return found


def numbers_of_faces(
    target: CollectionRef, embedded: Sequence[Embedded], stored: Collection[str], index: VectorIndex
) -> Mapping[str, Sequence[int]]:
    """The number of each face, by image id, of pictures that were embedded before in this very version.

    Args:
        stored: ids of images that the target has rows of. All others are looked for in the live generation.
    """
    live = index.live(target.name)
    known = {item.ref.image_id: item for item in embedded}
    here = sorted(known.keys() & set(stored))
    rows = dict(index.get_images(target, here)) if here else {}
    if live != target and (others := sorted(known.keys() - rows.keys())):
        rows |= index.get_images(live, others)
    return {
        image_id: _numbers(known[image_id], of_image)
        for image_id, of_image in rows.items()
        if of_image and {row.ref.etag for row in of_image} == {known[image_id].ref.etag}
    }


def _numbers(item: Embedded, rows: Sequence[IndexRow]) -> Sequence[int]:
    """Faces of the same place keep their number. Others get one that no face has had, while there are any."""
    known = {view_place_of(row.id): _box(row.metadata, row.width, row.height) for row in rows}
    boxes = [_box(metadata, item.width, item.height) for metadata in item.of_views]
    numbers: dict[int, int] = {}  # by place
    for place, number in _pairs(boxes, known):
        if place not in numbers and number not in numbers.values():
            numbers[place] = number
    unused = (number for number in range(MAX_VIEWS) if number not in numbers.values())
    spare = iter(sorted(unused, key=lambda number: (number in known, number)))
    return [numbers[place] if place in numbers else next(spare) for place in range(len(boxes))]


def _pairs(boxes: Sequence[Box | None], known: Mapping[int, Box | None]) -> list[tuple[int, int]]:
    """Place and number of what may be one face, the best overlap first."""
    overlaps = [
        (old.overlap(new), place, number)
        for place, new in enumerate(boxes)
        for number, old in known.items()
        if new is not None and old is not None
    ]
    likely = sorted(found for found in overlaps if found[0] >= SAME_PLACE)
    return [(place, number) for _, place, number in reversed(likely)]


def _box(metadata: Mapping[str, str], width: int, height: int) -> Box | None:
    place = place_of(metadata, width=width, height=height)
    return place.box if place is not None else None
