"""Addresses of services: which texts can be hosts, and how a URL is shown without its secrets."""

import ipaddress
import re

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
_SCHEME_AND_REST = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*://)?)([^?#]*)(.*)", re.DOTALL)


def show_url(url: str) -> str:
    """For messages: scheme, host, port and path. All else may be a secret, and becomes `***`."""
    parts = _SCHEME_AND_REST.fullmatch(url)
    assert parts is not None, "every text has these parts, each of which may be empty"
    scheme, place, options = parts.groups()
    if "@" in options:  # of a password with a ? or #, or of a token: nobody can tell where the host is
        return f"{scheme}***"
    _, at, place = place.rpartition("@")
    return f"{scheme}{'***@' if at else ''}{place}{f'{options[0]}***' if options else ''}"


def shown_tls(has_tls: bool) -> str:
    """The words of `pictor doctor` about a connection. With TLS, the server is always verified."""
    return "TLS" if has_tls else "no TLS"


def is_host(text: str) -> bool:
    """Whether it is the name or address of a host, without port and brackets."""
    return _HOST.fullmatch(text) is not None or is_address(text)


def is_address(text: str) -> bool:
    """Whether it is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches it. `localhost` is left to resolvers, and so it is not one."""
    return is_address(host) and ipaddress.ip_address(host).is_loopback
