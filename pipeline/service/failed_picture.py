"""A small picture of an object that failed, as it is now. It may be whole by now, or fail in another way."""

from pipeline.errors import NotFoundError
from pipeline.ports import ImageLimits, Ledger, ObjectStore
from pipeline.service.access import Caller
from pipeline.service.show import find_job
from pipeline.service.small_picture import small_picture


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
    request = find_job(job_id, ledger, caller).request
    failure = ledger.find_failure(job_id, image_id)
    if failure is None:
        raise NotFoundError(f"job {job_id} has no failure of image {image_id}")
    return small_picture(
        failure.ref,
        collection=request.collection,
        store=store,
        limits=limits,
        caller=caller,
        side_px=side_px,
        whichever_version=True,
    )
