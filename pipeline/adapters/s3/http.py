"""The HTTP client of the minio SDK: bounded waits, no tries of its own, the proxy of the environment."""

import urllib.request
from typing import TYPE_CHECKING, Any

import urllib3

from pipeline.adapters.s3.config import CA_SETTING, Endpoint, S3Config
from pipeline.tls import client_context

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse


class HttpClient(urllib3.PoolManager):
    """Knows the name that the service gave itself in its last answer."""

    server = ""

    def urlopen(self, method: str, url: str, *rest: Any, **options: Any) -> "BaseHTTPResponse":
        response = super().urlopen(method, url, *rest, **options)
        self.server = response.headers.get("server", "")
        return response


class _ProxyClient(HttpClient, urllib3.ProxyManager):
    pass


def http_client(config: S3Config, endpoint: Endpoint) -> HttpClient:
    options: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=min(config.timeout_s, 5), read=config.timeout_s),
        "retries": False,  # the SDK would ask 5 times on its own; ours is the only loop
        "maxsize": 128,  # as many threads may fetch
    }
    if endpoint.secure:
        options["ssl_context"] = client_context(config.ca_file, CA_SETTING)
    proxy = environment_proxy(endpoint)
    return HttpClient(**options) if proxy is None else _ProxyClient(proxy, **options)


def environment_proxy(endpoint: Endpoint) -> str | None:
    """The proxy that the environment names for this endpoint. obstore takes it, too."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get("https" if endpoint.secure else "http") or proxies.get("all")
    return None if not proxy or urllib.request.proxy_bypass(endpoint.host) else proxy
