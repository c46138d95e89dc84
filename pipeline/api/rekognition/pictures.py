"""The picture of a request: its bytes, or an object of a place that the service may read."""

from collections.abc import Callable, Mapping

from pipeline.api.aws.errors import AwsError
from pipeline.api.backend import Backend
from pipeline.api.rekognition.members import MAX_BYTES, MAX_OBJECT_BYTES, Picture
from pipeline.errors import ImageError
from pipeline.ingest.one_image import fetch_object
from pipeline.names import check_bucket_or_folder, check_key
from pipeline.search.query import Bytes, Object
from pipeline.service.access import Caller, require_name
from pipeline.types import ObjectRef, Reason

Counts = Callable[[Mapping[str, str]], bool]  # whether a face with this metadata is good enough


def read_picture(image: Picture, ports: Backend, caller: Caller) -> bytes:
    """Raises AwsError, DeniedError, ImageError: none is given, it is too large, or may not be read."""
    if image.S3Object is None:
        return _bytes_of(image)
    ref = _stat_object(image, ports, caller)
    return fetch_object(ref, ports.store, ports.limits).body


def query_of(image: Picture, ports: Backend, caller: Caller, *, counts: Counts) -> Bytes | Object:
    """For the largest face that is good enough. An object is read by the search. Raises the same."""
    if image.S3Object is None:
        return Bytes(text="picture", body=_bytes_of(image), counts=counts, only_largest=True)
    ref = _stat_object(image, ports, caller)
    text = f"{ref.bucket}/{ref.key}"
    return Object(text=text, bucket=ref.bucket, key=ref.key, counts=counts, only_largest=True)


def source_of(image: Picture) -> str:
    """For the row. "" for bytes."""
    if image.S3Object is None:
        return ""
    place = f"{image.S3Object.Bucket}/{image.S3Object.Name}"
    return place if place.startswith("/") else f"s3://{place}"  # a folder has its path in the place of a name


def _bytes_of(image: Picture) -> bytes:
    if image.Bytes is None:
        raise AwsError("InvalidParameterException", "Image: either Bytes or S3Object is expected")
    if len(image.Bytes) > MAX_BYTES:
        found = f"Image.Bytes: {len(image.Bytes)} bytes are over the limit of {MAX_BYTES}"
        raise AwsError("ImageTooLargeException", found)
    return image.Bytes


def _stat_object(image: Picture, ports: Backend, caller: Caller) -> ObjectRef:
    named = image.S3Object
    assert named is not None, "it was looked at"
    if image.Bytes is not None:
        raise AwsError("InvalidParameterException", "Image: either Bytes or S3Object is expected, found both")
    if named.Version is not None:
        raise AwsError(
            "InvalidS3ObjectException", "S3Object.Version: only the present version of an object is read"
        )
    bucket, key = check_bucket_or_folder(named.Bucket), check_key(named.Name)
    require_name(caller.who, "bucket", bucket, caller.buckets)
    ports.places.check_object(bucket, key)
    try:
        ref = ports.store.stat(bucket, key)
    except ImageError as err:
        if err.reason is Reason.NOT_FOUND:
            raise AwsError("InvalidS3ObjectException", f"there is no object {key!r} in {bucket}") from err
        raise
    if ref.size_bytes > MAX_OBJECT_BYTES:
        found = f"S3Object: {ref.size_bytes} bytes are over the limit of {MAX_OBJECT_BYTES}"
        raise AwsError("ImageTooLargeException", found)
    return ref
