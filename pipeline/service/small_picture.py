"""A small picture of an object, for who may reach its bucket. All thumbnails are made here."""

from pipeline.errors import ImageError, NotFoundError
from pipeline.ports import ImageLimits, ObjectStore
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.types import FaceOutline, ObjectRef, Reason


def small_picture(
    ref: ObjectRef,
    *,
    collection: str,
    store: ObjectStore,
    limits: ImageLimits,
    caller: Caller,
    side_px: int,
    whichever_version: bool = False,
    face: FaceOutline | None = None,
) -> bytes:
    """JPEG bytes of an object, upright, neither side over `side_px`.

    Args:
        collection: that names the object.
        whichever_version: the one that is there now, and not that of `ref`.
        face: all that the picture shows, upright by its eyes.

    Raises:
        DeniedError: the caller may not reach the bucket or the collection. Nothing was read.
        NotFoundError: it is not in its store any more.
        ImageError: it has changed, may not be read, or cannot be decoded now.
    """
    require(caller, Permission.READ)
    require_names(caller, collection=collection, buckets=[ref.bucket])
    try:
        present = store.stat(ref.bucket, ref.key) if whichever_version else ref
        body = store.get(present, max_bytes=limits.max_object_bytes).body
        return drawn(body, limits=limits, side_px=side_px, face=face)
    except ImageError as err:
        if err.reason is Reason.NOT_FOUND:
            raise NotFoundError(f"{ref.key!r} is not in its store any more") from err
        raise


def drawn(body: bytes, *, limits: ImageLimits, side_px: int, face: FaceOutline | None) -> bytes:
    """JPEG bytes of the whole picture, or of one face of it. Raises ImageError."""
    # torch and Pillow: only who draws pays for them
    from pipeline.image.face_picture import make_face_picture
    from pipeline.image.thumbnail import make_thumbnail

    if face is None:
        return make_thumbnail(body, limits=limits, side_px=side_px)
    return make_face_picture(body, face, limits=limits, side_px=side_px)
