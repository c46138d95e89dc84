"""A small picture of an object that failed, as it is now. It may be whole by now, or fail in another way."""

from pipeline.errors import ImageError, NotFoundError
from pipeline.ports import ImageLimits, Ledger, ObjectStore
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.show import find_job
from pipeline.types import Reason


def failed_picture(
    job_id: str,
    image_id: str,
    ledger: Ledger,
    store: ObjectStore,
    limits: ImageLimits,
    caller: Caller,
    *,
    side_px: int,
) -> bytes:
    """JPEG bytes of the present version, upright, neither side over `side_px`.

    Raises:
        DeniedError: the caller may not reach the bucket or the collection.
        NotFoundError: no such job or failure, or the object is not there any more.
        ImageError: it still cannot be decoded, or may not be read.
    """
    from pipeline.image.thumbnail import make_thumbnail  # torch and Pillow: only who draws pays for them

    require(caller, Permission.READ)
    request = find_job(job_id, ledger, caller).request
    require_names(caller, collection=request.collection, buckets=[request.bucket])
    failure = ledger.find_failure(job_id, image_id)
    if failure is None:
        raise NotFoundError(f"job {job_id} has no failure of image {image_id}")
    try:
        present = store.stat(failure.ref.bucket, failure.ref.key)
        body = store.get(present, max_bytes=limits.max_object_bytes).body
        return make_thumbnail(body, limits=limits, side_px=side_px)
    except ImageError as err:
        if err.reason is Reason.NOT_FOUND:
            raise NotFoundError(f"{failure.ref.key!r} is not in its store any more") from err
        raise
