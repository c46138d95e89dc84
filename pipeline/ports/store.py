"""Objects by bucket and key."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Protocol

from pipeline.types import (
    FetchedObject,
    ObjectRef,
)


class ObjectReader(Protocol):
    """What it takes to read single objects. Safe to share between threads."""

    def stat(self, bucket: str, key: str) -> ObjectRef:
        """The present version of one object. Raises ImageError (not_found, access_denied)."""
        ...

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        """The bytes of exactly the version that `ref` names.

        Raises:
            ImageError: not_found, changed, access_denied, too_large (found while reading, whatever the
                listing said), or timeout after the adapter's own bounded retries.
        """
        ...


class ObjectStore(ObjectReader, Protocol):
    """Objects by bucket and key. Safe to share between threads."""

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        """Every object whose key begins with `prefix`, in byte order of the key, streamed in pages.

        Raises:
            TargetError: the bucket or folder does not exist, or may not be listed.
        """
        ...

    def get_metadata(self, ref: ObjectRef) -> Mapping[str, str]:
        """The user's own metadata of exactly the version that `ref` names, without its bytes.

        Raises:
            ImageError: not_found, changed or access_denied.
        """
        ...

    def put(self, bucket: str, key: str, body: bytes) -> None: ...

    def delete(self, bucket: str, key: str) -> None:
        """Safe to run twice: an object that is not there is no error."""
        ...


class AgedStore(ObjectStore, Protocol):
    """A store that knows when an object was written."""

    def list_older_than(self, bucket: str, age: timedelta) -> Iterator[ObjectRef]:
        """Objects that were written longer ago than `age`, by the clock of the store."""
        ...
