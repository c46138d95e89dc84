"""The picture of a request: its bytes, or an object of a place that the service may read."""

from pipeline.api.aws.errors import AwsError
from pipeline.api.backend import Backend
from pipeline.api.rekognition.members import MAX_BYTES, MAX_OBJECT_BYTES, Picture
from pipeline.errors import ImageError
from pipeline.ingest.prepare import fetch_object
from pipeline.names import check_bucket_name, check_key
from pipeline.service.access import Caller, require_name
from pipeline.types import Reason


def read_picture(image: Picture, ports: Backend, caller: Caller) -> bytes:
    """Raises AwsError, DeniedError, ImageError: none is given, it is too large, or may not be read."""
    if (image.Bytes is None) == (image.S3Object is None):
        raise AwsError("InvalidParameterException", "Image: either Bytes or S3Object is expected")
    if image.Bytes is not None:
        if len(image.Bytes) > MAX_BYTES:
            found = f"Image.Bytes: {len(image.Bytes)} bytes are over the limit of {MAX_BYTES}"
            raise AwsError("ImageTooLargeException", found)
        return image.Bytes
    return _read_object(image, ports, caller)


def source_of(image: Picture) -> str:
    """For the row. "" for bytes."""
    return f"s3://{image.S3Object.Bucket}/{image.S3Object.Name}" if image.S3Object else ""


def _read_object(image: Picture, ports: Backend, caller: Caller) -> bytes:
    assert image.S3Object is not None, "it was looked at"
    if image.S3Object.Version is not None:
        raise AwsError(
            "InvalidS3ObjectException", "S3Object.Version: only the present version of an object is read"
        )
    bucket, key = check_bucket_name(image.S3Object.Bucket), check_key(image.S3Object.Name)
    require_name(caller.who, "bucket", bucket, caller.buckets)
    ports.places.check_object(bucket, key)
    try:
        ref = ports.store.stat(bucket, key)
        if ref.size_bytes > MAX_OBJECT_BYTES:
            found = f"S3Object: {ref.size_bytes} bytes are over the limit of {MAX_OBJECT_BYTES}"
            raise AwsError("ImageTooLargeException", found)
        return fetch_object(ref, ports.store, ports.limits).body
    except ImageError as err:
        if err.reason is Reason.NOT_FOUND:
            raise AwsError("InvalidS3ObjectException", f"there is no object {key!r} in {bucket}") from err
        raise
