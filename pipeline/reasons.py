"""Why an object is not in the index. Alone, since a client of the service needs no other types."""

from enum import StrEnum


class Reason(StrEnum):
    """Why an object is not in the index. Closed: a new code is a change of the public contract."""

    NOT_FOUND = "not_found"  # gone between the listing and the read
    CHANGED = "changed"  # overwritten between the listing and the read
    ACCESS_DENIED = "access_denied"
    TOO_LARGE = "too_large"  # more bytes than max_object_bytes
    EMPTY = "empty"  # zero bytes
    NOT_AN_IMAGE = "not_an_image"  # no known image signature
    UNSUPPORTED_FORMAT = "unsupported_format"  # an image, of a format or variant that is not on the list
    TRUNCATED = "truncated"  # ends before its pixels do
    TOO_MANY_PIXELS = "too_many_pixels"  # would need more memory than one image may have
    TOO_SMALL = "too_small"
    DECODE_ERROR = "decode_error"  # the decoder gave up on damaged data
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    NOT_FINITE = "not_finite"  # the model's answer was NaN, infinite or zero
    WORKER_CRASH = "worker_crash"  # the process died each time it touched this object
