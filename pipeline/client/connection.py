"""What both clients know of the service: its address, the key, patience. And which library sends."""

import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, TypedDict, TypeVar
from urllib.parse import urlsplit

import httpx2

from pipeline.client.calls import Call
from pipeline.client.problems import error_of
from pipeline.client.retries import Retries, may_repeat
from pipeline.client_settings import ClientSettings
from pipeline.errors import ArgumentError, ConfigError, PictorError, TransientError
from pipeline.tls import client_context, explain_tls

T = TypeVar("T")

CA_FILE = "PICTOR_CA_FILE"
ADDRESS = "PICTOR_API, or `url`"  # to begin a message with
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class ClientOptions(TypedDict):
    base_url: str
    headers: dict[str, str]
    timeout: float
    verify: ssl.SSLContext
    trust_env: bool
    follow_redirects: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """`key` is shown by nothing: not by `repr`, no message and no log line."""

    url: str
    key: str = field(default="", repr=False)
    ca_file: str = ""
    timeout_s: float = 30.0
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        if "@" in self.url:  # whatever else is wrong with it, it may hold a password and is not shown
            raise ArgumentError(f"{ADDRESS}: an address has no @; a key belongs into PICTOR_API_KEY")
        if not (self.key.isascii() and self.key.isprintable()) or " " in self.key:
            raise ArgumentError("PICTOR_API_KEY, or `key`: a key has no spaces and only letters of ASCII")
        if not _is_address(self.url):
            raise ArgumentError(
                f"{ADDRESS}: {self.url!r} is no address of a service; http://host:port or https://host is "
                "expected"
            )

    @property
    def is_this_machine(self) -> bool:
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ip_address(host).is_loopback
        except ValueError:
            return False

    def options(self) -> ClientOptions:
        """For the client of the library."""
        is_plain = self.url.startswith("http:")
        return ClientOptions(
            base_url=self.url,
            headers={"authorization": f"Bearer {self.key}"} if self.key else {},
            timeout=self.timeout_s,
            # To read all authorities of the machine takes 50 ms, and plain HTTP needs none.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if is_plain
            else client_context(self.ca_file, CA_FILE),
            trust_env=not self.is_this_machine,  # no proxy is asked for this machine, and none gets the key
            follow_redirects=False,  # the key is for this address alone
        )

    def request(self, call: Call[T], client: httpx2.Client | httpx2.AsyncClient) -> httpx2.Request:
        # In UTF-8: the library takes ASCII alone for a text, and names of persons are not.
        headers = [(name.encode(), text.encode()) for name, text in call.headers.items()]
        return client.build_request(
            call.method, call.path, params=dict(call.params), headers=headers, content=call.body
        )

    def refusal(self, err: BaseException | None) -> str:
        """What is wrong with the certificate of the service; "" for another trouble."""
        while err is not None:
            if fault := explain_tls(err, urlsplit(self.url).hostname or "", CA_FILE):
                return f"{self.url}: {fault}"
            err = err.__cause__ or err.__context__
        return ""

    def unreachable(self, err: httpx2.HTTPError) -> TransientError:
        match err:
            case httpx2.ConnectError():
                what = f"nothing answers at {self.url}"
            case httpx2.TimeoutException():
                what = f"no answer from {self.url} within {self.timeout_s:g} s"
            case _:
                what = f"the connection to {self.url} broke ({type(err).__name__})"
        return TransientError(what)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a bracket that is not closed, or a port that is no number up to 65535
        return False


def connect_to(url: str, key: str, timeout_s: float, retries: Retries | None) -> Connection:
    """What is not given comes from the environment.

    Raises:
        ArgumentError: no address, or none of HTTP.
    """
    found = ClientSettings.from_env()
    if not (url or found.api):
        raise ArgumentError("no address of a Pictor service: give one, or set PICTOR_API")
    return Connection(
        url=(url or found.api).rstrip("/"),
        key=(key or found.api_key).strip(),
        ca_file=found.ca_file,
        timeout_s=timeout_s,
        retries=retries or Retries(),
    )


@dataclass(kw_only=True, slots=True)
class Attempts:
    """One call, from its first attempt to its answer. Whoever sends it asks here what to do next."""

    connection: Connection
    call: Call[Any]
    made: int = 0

    def after_error(self, err: httpx2.HTTPError) -> float:
        """The pause before the next attempt.

        Raises:
            TransientError: there is none.
            ConfigError: the certificate of the service is refused, which it would be again.
        """
        self.made += 1
        if refusal := self.connection.refusal(err):
            raise ConfigError(refusal) from err
        is_safe = self.call.is_repeatable or isinstance(err, NEVER_SENT)
        wait_s = self.connection.retries.wait_s(self.made) if is_safe else None
        if wait_s is None:
            raise self.connection.unreachable(err) from err
        return wait_s

    def after_answer(self, answer: httpx2.Response) -> float | None:
        """The pause before the next attempt; None when this answer is the one. Raises as it says."""
        self.made += 1
        if answer.status_code < 300:
            return None
        later = answer.headers.get("retry-after", "")
        if may_repeat(answer.status_code, is_repeatable=self.call.is_repeatable, retry_after=later):
            wait_s = self.connection.retries.wait_s(self.made, retry_after=later)
            if wait_s is not None:
                return wait_s
        raise problem_of(answer)


def problem_of(answer: httpx2.Response) -> PictorError:
    return error_of(answer.status_code, answer.content, request_id=answer.headers.get("x-request-id", ""))
