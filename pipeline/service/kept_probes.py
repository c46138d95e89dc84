"""Pictures that came with a search, kept while persons verify its matches, and no longer (decision 0112)."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.errors import ImageError, NotFoundError, PictorError
from pipeline.location import Location
from pipeline.ports import ImageLimits, ObjectStore, VerificationBook
from pipeline.types import Match, Reason

logger = logging.getLogger(__name__)

# Beside the uploads of tenants, where no tenant's key reaches: no tenant can have a name with a hyphen.
FOLDER = "open-verifications/"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptProbes:
    """Safe to share between threads. Args: `place` is that of uploads; nothing is kept where it is None."""

    store: ObjectStore
    place: Location | None

    def keep(self, search_id: str, body: bytes) -> None:
        """Safe to run twice. Raises TransientError: the place is away."""
        if self.place is not None:
            self.store.put(self.place.bucket, self._key(self.place, search_id), body)

    def read(self, search_id: str, sha256: str, limits: ImageLimits) -> bytes:
        """The picture that was searched with.

        Raises:
            NotFoundError: it was not kept, or is not kept any more.
            ImageError: it is not the one that was searched with.
        """
        if self.place is None:
            raise NotFoundError("the picture was not kept: whoever runs the service can set PICTOR_UPLOADS")
        try:
            ref = self.store.stat(self.place.bucket, self._key(self.place, search_id))
            body = self.store.get(ref, max_bytes=limits.max_object_bytes).body
        except ImageError as err:
            if err.reason is Reason.NOT_FOUND:
                raise NotFoundError("the picture that was searched with is not kept any more") from err
            raise
        check_digest(body, sha256)
        return body

    def forget_if_closed(self, matches: Sequence[Match]) -> None:
        """Erase the picture of a search. Args: `matches` are all of it. `sweep` erases what this leaves."""
        if self.place is None or not matches or not all(match.is_closed for match in matches):
            return
        try:
            self.store.delete(self.place.bucket, self._key(self.place, matches[0].search_id))
        except PictorError as err:  # the decision stands, whatever becomes of the picture now
            logger.warning(
                "a picture was not erased", extra={"search": matches[0].search_id, "why": str(err)}
            )

    def sweep(self, book: VerificationBook, *, opened_before: datetime | None) -> int:
        """Erase pictures of searches without an open match. Returns how many.

        Args:
            opened_before: also those of searches before this time, open or not.
        """
        if self.place is None:
            return 0
        beginning, swept = self._key(self.place, ""), 0
        for ref in self.store.list_objects(self.place.bucket, beginning):
            found = book.of_search(ref.key.removeprefix(beginning))
            is_old = opened_before is not None and any(match.opened_at < opened_before for match in found)
            if is_old or all(match.is_closed for match in found):
                self.store.delete(ref.bucket, ref.key)
                swept += 1
        return swept

    @staticmethod
    def _key(place: Location, search_id: str) -> str:
        return f"{place.prefix}{FOLDER}{search_id}"


def check_digest(body: bytes, sha256: str) -> None:
    """Raises ImageError: these are not the bytes that were searched with."""
    if hashlib.sha256(body).hexdigest() != sha256:
        raise ImageError(Reason.CHANGED, "the picture has changed since it was searched with")
