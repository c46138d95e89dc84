"""The folders and buckets that a request may name. No others are read for a caller.

A service that reads whatever it is told to would show one user of a machine the pictures of another. A caller
could aim it at every bucket that its credentials open.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pipeline.errors import DeniedError
from pipeline.ingest.removal import AGAIN
from pipeline.location import Location
from pipeline.ports import Ledger
from pipeline.service.access import is_like_any
from pipeline.service.index_image import ONE_IMAGE

KNOWN_S = 1.0  # after this time at the latest a place may be named that a new job has brought
SPARE = 20  # or later, where the ledger has so many jobs that to ask takes more than a twentieth of the time


class Places:
    """Safe to share between threads.

    Args:
        allowed: as `pictor serve --allow` names them.
        known: places indexed before, by whoever may run commands here. There are ever more, never fewer.
        buckets: globs of buckets that may be named as a whole. No folder is like one.
        granted: globs of the names without which no place is allowed to this caller.
    """

    def __init__(
        self,
        allowed: Sequence[Location],
        known: Callable[[], Sequence[Location]],
        *,
        buckets: Sequence[str] = (),
        granted: Sequence[str] = ("*",),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = tuple(allowed)
        self._buckets = tuple(buckets)
        self._granted = tuple(granted)
        self._known = known
        self._clock = clock
        self._uploads = self._own_uploads = ""
        self._read: tuple[Sequence[Location], float] = ((), -math.inf)  # and until when, by the clock

    def confined_to(
        self,
        buckets: Sequence[str],
        known: Callable[[], Sequence[Location]],
        *,
        uploads: Location | None,
        tenant: str,
    ) -> "Places":
        """The same places, as far as one caller may name them.

        Args:
            buckets: globs. A folder's path is a name, too.
            known: places that were indexed before into collections that the caller may reach.
            uploads: where pictures of all tenants are kept. The caller has those of the own one.
        """
        places = Places(self._allowed, known, buckets=self._buckets, granted=buckets, clock=self._clock)
        if uploads is not None:
            places._uploads = _path(uploads.bucket, uploads.prefix)
            places._own_uploads = f"{places._uploads}{tenant}/"
        return places

    def check_location(self, wanted: Location) -> Location:
        """Raises DeniedError: it lies in no place that is allowed."""
        self._keep_from_uploads(wanted.bucket, wanted.prefix)
        if not self._holds(wanted.bucket, wanted.prefix):
            raise DeniedError(f"{wanted.url} is in none of the places that this service may read; {_WAY}")
        return wanted

    def check_object(self, bucket: str, key: str) -> None:
        """Raises DeniedError, whether or not there is such an object."""
        self._keep_from_uploads(bucket, key)
        if not self._holds(bucket, key):
            raise DeniedError(
                f"{bucket}: this object is in none of the places that this service may read; {_WAY}"
            )

    def _holds(self, bucket: str, key: str) -> bool:
        """The known places come last, since the ledger is asked for them."""
        return (is_like_any(bucket, self._granted) and _is_own_name(bucket)) and (
            _is_in_any(bucket, key, self._allowed)
            or (not bucket.startswith("/") and is_like_any(bucket, self._buckets))
            or _is_in_any(bucket, key, self._known_lately())
        )

    def _keep_from_uploads(self, bucket: str, key: str) -> None:
        """Raises DeniedError: it lies among the uploads of other tenants, or holds them."""
        wanted, uploads = _path(bucket, key), self._uploads
        touches = bool(uploads) and (wanted.startswith(uploads) or uploads.startswith(wanted))
        if touches and not wanted.startswith(self._own_uploads):
            raise DeniedError(f"{wanted}: this place holds uploads of other tenants")

    def _known_lately(self) -> Sequence[Location]:
        places, until_s = self._read
        if (began_s := self._clock()) >= until_s:
            places, took_s = self._known(), self._clock() - began_s
            # One assignment: threads that come together ask twice at worst.
            self._read = places, began_s + max(KNOWN_S, SPARE * took_s)
        return places


class AllPlaces(Places):
    """For the user who runs the service, and could read every place without it."""

    def __init__(self) -> None:
        super().__init__((), known=tuple)

    def _holds(self, bucket: str, key: str) -> bool:  # noqa: ARG002 - whichever it is
        return True


def known_places(ledger: Ledger, *, folders: bool) -> list[Location]:
    """Without those of jobs that Pictor made by itself: they name a bucket, and all of it. Jobs of one image
    are as many as there are images, and their places lie in others.

    Args:
        folders: whether they are those of this machine. A job that another host ran may name one, too.
    """
    places = ledger.locations(without=(AGAIN, ONE_IMAGE))
    return [place for place in places if folders or not place.bucket.startswith("/")]


_WAY = (
    "whoever runs it can add one with `pictor serve --allow PLACE`, or index it with `pictor ingest SOURCE`"
)


def _path(bucket: str, key: str) -> str:
    return f"{bucket}/{key}"


def _is_own_name(bucket: str) -> bool:
    """Whether a folder is called by its one name. By `/a/./b`, or by a link, it passes for another."""
    try:
        return not bucket.startswith("/") or os.path.realpath(bucket) == bucket
    except ValueError:  # a NUL, or half of a character
        return False


def _is_in_any(bucket: str, key: str, places: Iterable[Location]) -> bool:
    return any(_is_within(bucket, key, place) for place in places)


def _is_within(bucket: str, key: str, place: Location) -> bool:
    if bucket == place.bucket:
        return key.startswith(place.prefix)
    both_folders = place.bucket.startswith("/") and bucket.startswith("/")
    return both_folders and Path(bucket).is_relative_to(place.bucket) and ".." not in Path(bucket).parts
