"""Who shows this key? Asked for each request, so it remembers keys for half a second."""

import hmac
import logging
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pipeline.errors import TransientError, UnknownCallerError
from pipeline.ports import KeyBook
from pipeline.service.access import Caller, permissions_of
from pipeline.service.key_text import digest_of, id_in_text
from pipeline.service.remembered import Remembered
from pipeline.types import ApiKey, KnownKey, Session

logger = logging.getLogger(__name__)

REMEMBERED_S = 0.5  # a key that is revoked works nowhere a second later, with the time of a request in it
NOTED_EVERY = timedelta(minutes=15)  # when a key was used last: a write for each request would cost more
SESSION = timedelta(hours=12)  # a working day
MAX_SESSIONS = 20  # of one key: the browsers of a few people who share it. The oldest one ends
MAX_REMEMBERED = 10_000  # keys, and as many sessions

_NOT_VALID = "this key is not known, or not valid any more"
_SIGNED_OUT = "nobody is signed in, or not any more"


class Keyring:
    """Safe to share between threads.

    Args:
        clock_s: seconds, never back.
        now: the time of day, for expiry.
    """

    def __init__(
        self,
        book: KeyBook,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._book = book
        self._now = now
        self._keys = Remembered[str, KnownKey | None](
            age_s=REMEMBERED_S, most=MAX_REMEMBERED, clock_s=clock_s
        )
        self._sessions = Remembered[str, Session | None](
            age_s=REMEMBERED_S, most=MAX_REMEMBERED, clock_s=clock_s
        )

    def holder_of(self, text: str) -> ApiKey:
        """The key with this text.

        Raises:
            UnknownCallerError: there is none, it has expired or was revoked.
        """
        key_id = id_in_text(text)
        known, is_fresh = self._find(key_id) if key_id else (None, False)
        # Compared in any case: how long it takes says nothing about which ids there are.
        same = hmac.compare_digest(digest_of(text), known.digest if known else digest_of(""))
        if known is None or not same:
            raise UnknownCallerError(_NOT_VALID)
        return self._valid(known.key, is_fresh)

    def check(self, key_id: str) -> ApiKey:
        """Raises UnknownCallerError when the key is not valid any more."""
        return self._valid(*self._known(key_id))

    def check_claim(self, key_id: str) -> None:
        """The same for whoever names a key and has yet to show that it is theirs: no use of it is noted."""
        key, _ = self._known(key_id)
        self._check_validity(key)

    def signer(self, key_id: str) -> ApiKey:
        """The key of a request that was signed with its secret. Raises UnknownCallerError, as `check`."""
        key, _ = self._known(key_id)
        return self._valid(key, is_fresh=True)  # the claim has just looked it up

    def sign_in(self, text: str) -> str:
        """The text of a session for the holder of a key. Raises UnknownCallerError, as `holder_of`."""
        key = self.holder_of(text)
        session = secrets.token_urlsafe(32)
        now = self._now()
        ends = Session(key_id=key.key_id, expires_at=now + SESSION)
        self._book.add_session(digest_of(session), ends, now=now, most=MAX_SESSIONS)
        return session

    def signed_in(self, session: str) -> ApiKey:
        """The key that somebody signed in with. Raises UnknownCallerError: signed out, or too long ago."""
        digest = digest_of(session)
        found = self._sessions.find(digest, lambda: self._book.find_session(digest), keeps=_is_there)
        if found is None or found.expires_at <= self._now():
            raise UnknownCallerError(_SIGNED_OUT)
        return self.check(found.key_id)

    def sign_out(self, session: str) -> None:
        digest = digest_of(session)
        self._book.end_session(digest)
        self._sessions.forget(digest)

    def remembers(self, text: str) -> bool:
        """Whether the answer for the text of a key costs no look into the book."""
        key_id = id_in_text(text)
        return key_id is None or self._keys.has(key_id)

    def _known(self, key_id: str) -> tuple[ApiKey, bool]:
        """As `_find`. Raises UnknownCallerError: there is none."""
        known, is_fresh = self._find(key_id)
        if known is None:
            raise UnknownCallerError(_NOT_VALID)
        return known.key, is_fresh

    def _find(self, key_id: str) -> tuple[KnownKey | None, bool]:
        """The key, and whether it was looked up just now."""
        is_fresh = not self._keys.has(key_id)
        return self._keys.find(key_id, lambda: self._book.find_key(key_id), keeps=_is_there), is_fresh

    def _check_validity(self, key: ApiKey) -> None:
        if not key.is_valid(self._now()):
            raise UnknownCallerError(_NOT_VALID)

    def _valid(self, key: ApiKey, is_fresh: bool) -> ApiKey:
        self._check_validity(key)
        if is_fresh:  # else it was noted half a second ago
            self._note_use(key)
        return key

    def _note_use(self, key: ApiKey) -> None:
        now = self._now()
        if key.last_used_at is not None and key.last_used_at > now - NOTED_EVERY:
            return
        try:
            self._book.note_use(key.key_id, now, unless_since=now - NOTED_EVERY)
        except TransientError as err:  # no reason to turn anybody away
            logger.warning("use of a key not noted", extra={"key_id": key.key_id, "error": str(err)})


def _is_there(found: object) -> bool:
    """Others cannot fill the memory with what is not there."""
    return found is not None


def caller_with(key: ApiKey, *, request_id: str, on_behalf_of: str = "") -> Caller:
    """Whoever shows this key."""
    return Caller(
        who=f"{key.name} ({key.key_id})",
        permissions=permissions_of(key.roles),
        buckets=key.buckets,
        collections=key.collections,
        tenant=key.tenant,
        on_behalf_of=on_behalf_of,
        request_id=request_id,
        key_id=key.key_id,
        expires_at=key.expires_at,
        acts_for_others=key.acts_for_others,
        justification=key.justification,
        roles=tuple(role.value for role in key.roles),
    )
