"""Index one image: an object that is in the store, or a picture that comes with the request."""

import hashlib
from dataclasses import dataclass
from urllib.parse import quote

from pipeline.errors import ImageError, NotFoundError
from pipeline.ingest.globs import pattern_of
from pipeline.location import Location
from pipeline.ports import ImageLimits, ObjectStore
from pipeline.service.access import ALL_TENANTS, Caller, Permission, require, require_names
from pipeline.service.submit import Submission
from pipeline.types import DEFAULT_TENANT, Reason, image_id_of

ONE_IMAGE = "one-"  # how the ids of jobs of a single image begin
PROBE_PX = 64  # a picture is decoded to be sure that it can be, as small as its format allows


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPicture:
    bucket: str
    key: str

    @property
    def image_id(self) -> str:
        return image_id_of(self.bucket, self.key)


def find_picture(
    bucket: str, key: str, *, collection: str, store: ObjectStore, caller: Caller
) -> StoredPicture:
    """An object that is there.

    Raises:
        DeniedError: the caller may not index it.
        NotFoundError: it is not there.
        ImageError: it may not be read.
    """
    require(caller, Permission.WRITE)
    require_names(caller, collection=collection, buckets=[bucket])
    try:
        store.stat(bucket, key)
    except ImageError as err:
        if err.reason is Reason.NOT_FOUND:
            raise NotFoundError(f"{bucket}: there is no object {key!r}") from err
        raise
    return StoredPicture(bucket=bucket, key=key)


def keep_picture(
    body: bytes, *, collection: str, place: Location, store: ObjectStore, limits: ImageLimits, caller: Caller
) -> StoredPicture:
    """Put a picture into the place for uploads. The same bytes of the same tenant are one object.

    Raises:
        DeniedError: the caller may not index what lies there.
        ImageError: it cannot be decoded. Nothing was kept.
    """
    from pipeline.image.decode import decode_image  # torch and Pillow: only who draws pays for them

    require(caller, Permission.WRITE)
    require_names(caller, collection=collection, buckets=[place.bucket])
    decode_image(body, limits=limits, target_px=PROBE_PX)
    tenant = DEFAULT_TENANT if caller.tenant == ALL_TENANTS else caller.tenant
    picture = StoredPicture(
        bucket=place.bucket, key=f"{place.prefix}{tenant}/{hashlib.sha256(body).hexdigest()}"
    )
    try:
        store.stat(picture.bucket, picture.key)
    except ImageError:
        store.put(picture.bucket, picture.key, body)
    return picture


def submission_of(picture: StoredPicture, *, collection: str) -> Submission:
    """A job of this image alone. It takes nothing out of the collection."""
    bucket, key = picture.bucket, picture.key
    url = f"file://{quote(f'{bucket}/{key}')}" if bucket.startswith("/") else f"s3://{bucket}/{key}"
    return Submission(
        location=Location(url=url, bucket=bucket, prefix=key),
        collection=collection,
        batch_items=1,
        include=(pattern_of(key),),
        exclude=(f"{pattern_of(key)}/*",),  # a file of the same name in a folder of this name
        keep_missing=True,
    )
