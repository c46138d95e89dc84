"""Images that came with the query, to be read and judged as all others are."""

from collections.abc import Sequence

from pipeline.errors import ImageError
from pipeline.types import FetchedObject, ObjectRef, Reason


class GivenImages:
    """Implements `ports.ObjectReader` for as long as one search takes."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self._bodies = list(bodies)
        self.refs = [
            ObjectRef(bucket="", key=str(number), etag="", size_bytes=len(body))
            for number, body in enumerate(bodies)
        ]

    def stat(self, bucket: str, key: str) -> ObjectRef:  # noqa: ARG002 - the port's
        return self.refs[int(key)]

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        body = self._bodies[int(ref.key)]
        if len(body) > max_bytes:
            raise ImageError(Reason.TOO_LARGE, f"{len(body)} bytes are over the limit of {max_bytes}")
        return FetchedObject(body=body)
