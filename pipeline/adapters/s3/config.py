"""The values of an S3 connection, before there is one."""

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipeline.addresses import is_host, show_url
from pipeline.errors import ConfigError

CA_SETTING = "PICTOR_S3_CA_FILE"


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Config:
    """`repr` shows no secret. `endpoint` "" is AWS. See `parse_endpoint`."""

    endpoint: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    region: str = "us-east-1"
    timeout_s: float = 30.0  # longest wait for an answer, and between two pieces of one
    attempts: int = 4
    ca_file: str = ""  # see `pipeline.tls.client_context`

    @property
    def object_deadline_s(self) -> float:
        """Longest time for the bytes of one object, however steadily they drip."""
        return self.timeout_s * self.attempts


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str  # with the port, if there is one
    secure: bool
    is_aws: bool

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.host}"


def parse_endpoint(text: str) -> Endpoint:
    """Read `https://host[:port]`, `http://…` or a bare `host[:port]`.

    A bare host is reached by https, unless it is this machine: there a test server speaks http.

    Raises:
        ConfigError: another scheme, no host, a path, or credentials in the URL (which are not repeated).
    """
    if not text:
        return Endpoint("s3.amazonaws.com", secure=True, is_aws=True)
    scheme, separator, _ = text.partition("://")
    try:
        parts = urlsplit(text if separator else f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as err:
        raise ConfigError("the S3 endpoint is not a URL; https://host:port is expected") from err
    if "@" in parts.netloc:
        raise ConfigError("the S3 endpoint holds a user name; set PICTOR_S3_ACCESS_KEY instead")
    if not host or not is_host(host) or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(f"S3 endpoint {show_url(text)}: https://host:port without a path is expected")
    if separator and scheme.lower() not in ("http", "https"):
        raise ConfigError(
            f"S3 endpoint {show_url(text)}: scheme {scheme!r} is unknown; http or https is expected"
        )
    secure = scheme.lower() == "https" if separator else not _is_loopback(host)
    bracketed = f"[{host}]" if ":" in host else host
    return Endpoint(f"{bracketed}:{port}" if port else bracketed, secure=secure, is_aws=False)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
