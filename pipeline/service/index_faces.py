"""Index the faces of one picture at once, each as an image of its own, and take faces out again.

A face that comes alone can go alone, and keeps its id while others of its picture go (decision 0125).
"""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pipeline.errors import ImageError
from pipeline.ingest.removal import take_out
from pipeline.kept_face import key_of_face
from pipeline.location import Location
from pipeline.ports import ImageLimits, Ledger, ObjectStore, VectorIndex, VersionBook
from pipeline.ports.image_rows import image_id_of_row, view_row_id
from pipeline.search.example import Example, Examples
from pipeline.search.examples import read_examples
from pipeline.search.query import Bytes
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.act_records import enter_deletion, enter_indexing
from pipeline.service.face_ids import rows_that_may_be
from pipeline.service.face_pictures import folder_of
from pipeline.service.faces import permitted_target
from pipeline.service.search import SearchPorts, sources_of
from pipeline.types import CollectionRef, IndexRow, ObjectRef, Reason, indexed_version

EXTERNAL_ID = "external_image_id"  # metadata of a row
IMAGE_ID = "rekognition_image_id"
SOURCE = "source_object"
FACES_AT_ONCE = 100  # that are looked for: 9,900 ids
NOWHERE = Location(url="", bucket="rekognition", prefix="")  # of faces whose picture is not kept


@dataclass(frozen=True, kw_only=True, slots=True)
class FacesToIndex:
    """`left_out` says why a face of this metadata is not wanted, or nothing. `source` is bucket and key."""

    collection: str
    external_id: str = ""
    source: str = ""
    most: int
    left_out: Callable[[Mapping[str, str]], Sequence[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    face: Example
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Picture:
    """`content` is its digest, in hex. It is computed once, whatever the number of faces."""

    size_bytes: int
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexedFaces:
    rows: tuple[IndexRow, ...]
    left_out: tuple[LeftOut, ...]
    target: CollectionRef


def index_faces(
    body: bytes,
    wanted: FacesToIndex,
    place: Location | None,
    ports: SearchPorts,
    book: VersionBook,
    limits: ImageLimits,
    caller: Caller,
) -> IndexedFaces:
    """The largest faces first. The same picture with the same external id makes the same rows.

    Args:
        place: for uploads. With it the picture is kept there, once for each of its faces, under the key that
            the row names.

    Raises:
        DeniedError: the caller may not write, or not into this collection.
        NotFoundError, ArgumentError: there is no such collection, or it is not one of faces.
        ImageError: the picture cannot be read.
        AuditError: it could not be recorded. Nothing is written.
    """
    target = permitted_target(wanted.collection, Permission.WRITE, ports, caller)
    (faces,) = read_examples([Bytes(text="picture", body=body)], target, sources_of(target, ports), limits)
    if faces[0].code in tuple(Reason):
        raise ImageError(Reason(faces[0].code), faces[0].detail)
    taken, left_out = _choose(faces, wanted)
    picture = _Picture(size_bytes=len(body), content=hashlib.sha256(body).hexdigest())
    rows = [_row_of(face, picture, wanted, place, caller) for face in taken]
    enter_indexing(
        [row.ref.image_id for row in rows], wanted.source or "request", target, ports.answers_to, caller
    )
    if place is not None:
        rows = [_keep_picture(row, body, ports.store) for row in rows]
    _write(rows, target, ports.index, book)
    return IndexedFaces(rows=tuple(rows), left_out=tuple(left_out), target=target)


def _choose(faces: Examples, wanted: FacesToIndex) -> tuple[list[Example], list[LeftOut]]:
    taken: list[Example] = []
    left_out: list[LeftOut] = []
    for face in faces:
        if face.vector is None:  # the picture shows none
            continue
        reasons = tuple(wanted.left_out(face.metadata))
        if not reasons and len(taken) >= wanted.most:
            reasons = ("EXCEEDS_MAX_FACES",)
        if reasons:
            left_out.append(LeftOut(face=face, reasons=reasons))
        else:
            taken.append(face)
    return taken, left_out


def _row_of(
    face: Example, picture: _Picture, wanted: FacesToIndex, place: Location | None, caller: Caller
) -> IndexRow:
    assert face.vector is not None, "it was looked at"
    assert face.face is not None, "pictures of this collection's model show faces"
    request = f"{wanted.collection}\0{wanted.external_id}\0{picture.content}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    kept = place or NOWHERE
    ref = ObjectRef(
        bucket=kept.bucket,
        key=key_of_face(folder_of(wanted.collection, kept, caller), digest, face.face.box),
        etag=picture.content[:32],
        size_bytes=picture.size_bytes,
    )
    known = {EXTERNAL_ID: wanted.external_id, SOURCE: wanted.source}
    return IndexRow(
        id=view_row_id(ref.image_id, 0),
        ref=ref,
        vector=face.vector,
        width=face.face.width,
        height=face.face.height,
        indexed_at=datetime.now(UTC),
        metadata={
            **{name: text for name, text in known.items() if text},
            IMAGE_ID: str(uuid.UUID(digest[:32])),
            **face.metadata,
        },
    )


def _keep_picture(row: IndexRow, body: bytes, store: ObjectStore) -> IndexRow:
    """With the version that the store gives it. A job of the folder then knows the row for what it is."""
    store.put(row.ref.bucket, row.ref.key, body)
    return replace(row, ref=store.stat(row.ref.bucket, row.ref.key))


def _write(rows: Sequence[IndexRow], target: CollectionRef, index: VectorIndex, book: VersionBook) -> None:
    """After the pictures: a row whose picture is missing could not be shown or embedded again."""
    if not rows:
        return
    index.replace_images(target, {row.ref.image_id: [row] for row in rows})
    # One that was taken out before is remembered as such, until somebody decides over it anew.
    known = book.find(target.generation, [row.ref.image_id for row in rows])
    sequences = book.claim(target.generation, known) if known else {}
    entries = [replace(indexed_version(row.ref), sequence=sequences.get(row.ref.image_id, 0)) for row in rows]
    book.write(target.generation, entries)


def find_faces(
    face_ids: Sequence[str], target: CollectionRef, ports: SearchPorts, *, latest: bool = True
) -> dict[str, IndexRow]:
    """The rows that are there, by the id of the face. Raises ValueError: no UUID."""
    found: dict[str, IndexRow] = {}
    candidates = {face_id: rows_that_may_be(face_id) for face_id in face_ids}
    for places in (slice(0, 1), slice(1, None)):  # nearly all are the first of their image
        left = [face_id for face_id in candidates if face_id not in found]
        for start in range(0, len(left), FACES_AT_ONCE):
            some = left[start : start + FACES_AT_ONCE]
            of = {row_id: face_id for face_id in some for row_id in candidates[face_id][places]}
            found |= {of[row.id]: row for row in ports.index.get_rows(target, list(of), latest=latest)}
    return {face_id: found[face_id] for face_id in candidates if face_id in found}


def remove_faces(
    rows: Sequence[IndexRow],
    target: CollectionRef,
    ports: SearchPorts,
    ledger: Ledger,
    place: Location | None,
    caller: Caller,
    *,
    driver: str,
) -> list[IndexRow]:
    """Take faces out, and the pictures that were kept with them.

    Args:
        driver: see `delete_objects`.

    Returns:
        Those that stay: they came by a job, with a picture of several faces.

    Raises:
        DeniedError: the caller may not write, or not into this collection.
        AuditError: it could not be recorded. Nothing is deleted.
    """
    require(caller, Permission.WRITE)
    require_names(caller, collection=target.name)
    stored = ports.index.get_images(target, [image_id_of_row(row.id) for row in rows])
    of_several = {image_id for image_id, faces in stored.items() if len(faces) > 1}
    gone = [row for row in rows if image_id_of_row(row.id) not in of_several]
    if gone:
        ids = [image_id_of_row(row.id) for row in gone]
        enter_deletion(ids, target.name, ports.answers_to, caller)
        for info in ports.index.list_generations(target.name):
            take_out(ids, info, ports.index, ledger, meant_at=datetime.now(UTC), driver=driver)
    for row in gone:
        _forget_picture(row, place, ports.store)
    return [row for row in rows if image_id_of_row(row.id) in of_several]


def _forget_picture(row: IndexRow, place: Location | None, store: ObjectStore) -> None:
    if place is not None and row.metadata.get(IMAGE_ID) and row.ref.bucket == place.bucket:
        store.delete(row.ref.bucket, row.ref.key)
