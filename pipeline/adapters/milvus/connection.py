"""One connection to Milvus: a server by URL, or a Milvus Lite directory that this process serves to itself.

Errors are translated here and nowhere else:

    unreachable, timeout, overload, recovering   TransientError, after a few tries
    token refused                                CredentialsError
    collection unknown                           MissingCollectionError (a TargetError)
    anything else                                PictorError with Milvus' code; the cause carries its words
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]  # ships no types
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from pipeline.adapters.milvus.lite.folder import is_lite
from pipeline.adapters.milvus.lite.server import LiteServer
from pipeline.addresses import is_host, show_url
from pipeline.errors import ConfigError, CredentialsError, PictorError, TargetError, TransientError
from pipeline.ports.model_binding import missing_collection
from pipeline.tls import authorities_file, find_fault

T = TypeVar("T")

CA_SETTING = "PICTOR_MILVUS_CA_FILE"
URL_SCHEMES = {"http", "https", "tcp", "unix"}
BACKOFFS_S = (0.2, 1.0)  # bridges a dropped connection; a longer outage is the batch's retry, not ours
# gRPC waits up to two minutes before it tries a server again, and all channels of the process share that
# wait: a server that is back would seem away.
_CHANNEL_OPTIONS = {"grpc.max_reconnect_backoff_ms": 1000, "grpc.use_local_subchannel_pool": 1}
_PERMANENT_STATUS = {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT}
_AUTH_CODES = {1400, 1401, 1402, 1403, 1800}
_COLLECTION_NOT_FOUND = 100
_COLLECTION_NOT_LOADED = 101
# Milvus' own numbers: 2..10 service unavailable, memory, rate and quota limits; 102, 103 being loaded;
# 5xx channels and 6xx segments on the move; 9xx nodes that left; 10xx storage; 12xx the message stream.
_TRANSIENT_CODES = {*range(2, 11), 102, 103, *range(500, 700), *range(900, 1100), *range(1200, 1300)}
_TRANSIENT_TEXT = r"not ready|channel not available|[Tt]imeout"


class MissingCollectionError(TargetError):
    """No collection of that name, for the adapter's own decisions."""


class NotLoadedError(PictorError):
    """The collection is not in the server's memory: load it and ask again."""


class MilvusConnection:
    """Safe to share between threads. Calls to Milvus Lite queue up behind a lock."""

    def __init__(self, uri: str, *, token: str, timeout_s: float, ca_file: str = "") -> None:
        quiet_milvus_loggers()
        self.lite = is_lite(uri)
        self.timeout_s = timeout_s  # of one answer; operations pass it on, pymilvus has no default
        self.label = uri if self.lite else _checked_without_credentials(uri)
        # Lite reads, merges and writes an upsert without a lock of its own, on ten server threads.
        self._lock: AbstractContextManager[Any] = threading.RLock() if self.lite else nullcontext()
        self._address = urlsplit("" if self.lite else uri)
        self._ca_file = ca_file
        # gRPC brings authorities of its own, and would not read those of this machine.
        tls = {"server_pem_path": authorities_file(ca_file, CA_SETTING)} if self._is_secure else {}
        self._lite_server = LiteServer(uri) if self.lite else None
        try:
            self._client = self.run(
                lambda: MilvusClient(
                    uri=self._lite_server.url if self._lite_server else uri,
                    token=token,
                    timeout=timeout_s,
                    dedicated=True,  # a shared channel would outlive close() and this Lite server's port
                    **tls,
                    grpc_options=_CHANNEL_OPTIONS | ({"grpc.enable_http_proxy": 0} if self.lite else {}),
                )
            )
        except BaseException:
            self._close_lite()
            raise

    def call(self, operation: Callable[[MilvusClient], T], *, collection: str = "") -> T:
        """Run one operation with retries. `operation` must be safe to run twice."""
        return self.run(lambda: operation(self._client), collection=collection)

    def run(self, operation: Callable[[], T], *, collection: str = "") -> T:
        """The same for an object that holds on to the client by itself."""
        give_up_at = time.monotonic() + self.timeout_s  # a call that used up its time is not made again
        backoffs_s = iter(BACKOFFS_S)
        while True:
            try:
                with self._lock:
                    return operation()
            except (MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as err:
                ours = self._translate(err, collection)
                backoff_s = next(backoffs_s, None)
                if backoff_s is None or time.monotonic() > give_up_at or not isinstance(ours, TransientError):
                    raise (isinstance(ours, TransientError) and self._untrusted()) or ours from err
            time.sleep(backoff_s)

    def server_version(self) -> str:
        version = str(self.call(lambda client: client.get_server_version(timeout=self.timeout_s)))
        if self.lite:
            return "Milvus Lite " + version.removeprefix("milvus_lite-")
        return "Milvus " + version.removeprefix("v").partition("-")[0]

    def close(self) -> None:
        self._client.close()
        self._close_lite()

    def _close_lite(self) -> None:
        if self._lite_server:
            self._lite_server.close()

    @property
    def _is_secure(self) -> bool:
        return not self.lite and self._address.scheme == "https"

    def _untrusted(self) -> ConfigError | None:
        """The fault of the server's certificate. gRPC only says that the server is unavailable."""
        if not self._is_secure:
            return None
        host, port = self._address.hostname or "", self._address.port or 443
        fault = find_fault(host, port, self._ca_file, CA_SETTING)
        return ConfigError(f"Milvus at {self.label}: {fault}") if fault else None

    def _translate(self, err: Exception, collection: str) -> PictorError:
        status, code = _status_and_code(err)
        where = f"Milvus at {self.label}"
        if status is grpc.StatusCode.PERMISSION_DENIED:
            return CredentialsError(f"{where}: the user of PICTOR_MILVUS_TOKEN has no right to do this")
        if status is grpc.StatusCode.UNAUTHENTICATED or code in _AUTH_CODES:
            return CredentialsError(f"{where} refused the token; is PICTOR_MILVUS_TOKEN right?")
        if code == _COLLECTION_NOT_FOUND:
            return MissingCollectionError(missing_collection(collection))
        if code == _COLLECTION_NOT_LOADED:
            return NotLoadedError(f"{where}: collection {collection!r} is not loaded")
        if _is_transient(err, status, code):
            return TransientError(f"{where} is unavailable or overloaded")
        reason = f"code {code}" if status is None else status.name
        return PictorError(f"{where} refused a request on collection {collection!r} ({reason})")


def quiet_milvus_loggers() -> None:
    # They log a traceback at ERROR for every failed call before it is raised; the caller logs one line.
    for name in ("pymilvus", "milvus_lite.adapter", "grpc._server"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # "Could not load library", eight lines long, for each instruction set that this machine lacks.
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)


def _status_and_code(err: Exception) -> tuple[grpc.StatusCode | None, int | None]:
    """gRPC's verdict, if the call failed below Milvus, and Milvus' own."""
    cause: BaseException | None = err
    while cause is not None:  # pymilvus hides a refused token below "fail connecting"
        if isinstance(cause, grpc.RpcError):
            return cause.code(), None
        if isinstance(cause, MilvusException) and isinstance(cause.code, grpc.StatusCode):
            return cause.code, None
        cause = cause.__cause__ if cause.__cause__ is not cause else None
    code = getattr(err, "code", None)
    return None, code if isinstance(code, int) else None


def _is_transient(err: Exception, status: grpc.StatusCode | None, code: int | None) -> bool:
    if isinstance(err, grpc.FutureTimeoutError) or getattr(err, "retriable", False):
        return True
    if status is not None:
        return status not in _PERMANENT_STATUS
    # Code 1 is both "not ready yet" and pymilvus' word for everything else, 65535 the server's, "channel not
    # available" (it moves to another node, or a drop takes it away) among it; only the text tells them apart.
    return code in _TRANSIENT_CODES or re.search(_TRANSIENT_TEXT, str(err)) is not None


def _checked_without_credentials(uri: str) -> str:
    shown = show_url(uri)
    try:
        parts = urlsplit(uri)
        is_usable = parts.scheme == "unix" or (is_host(parts.hostname or "") and parts.port != 0)
    except ValueError:  # brackets of an address, or the port
        is_usable = False
    if not is_usable or parts.scheme not in URL_SCHEMES:
        raise ConfigError(
            f"Milvus URI {shown}: expected http(s)://host:port or the path of a Milvus Lite directory"
        )
    return shown
