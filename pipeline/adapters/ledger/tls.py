"""Whom a PostgreSQL ledger trusts. Its URL says nothing of TLS by itself, and libpq then verifies nothing."""

import ipaddress

import sqlalchemy as sa

from pipeline.errors import ConfigError
from pipeline.tls import authorities_file, find_fault

CA_SETTING = "PICTOR_LEDGER_CA_FILE"
_DEFAULT_PORT = 5432

_NO_TLS_THERE = "server does not support SSL"
_WANTS_TLS = ("no encryption", "SSL off")  # at the end of "no pg_hba.conf entry for …"
_CERTIFICATE = "certificate"  # "certificate verify failed", "server certificate for … does not match …"


def with_tls(url: sa.URL, ca_file: str) -> sa.URL:
    """The URL with `verify-full`, unless it says `sslmode=disable`, or names this machine and no authority.

    Raises:
        ConfigError: another sslmode, which would encrypt and not know for whom. An unusable `ca_file`.
    """
    mode = url.query.get("sslmode")
    if mode not in (None, "disable", "verify-full"):
        raise ConfigError(
            f"PICTOR_LEDGER_URL: sslmode={mode} does not verify the server; write sslmode=verify-full, or "
            "sslmode=disable where the network is trusted"
        )
    if mode is None and not ca_file and _is_this_machine(url):
        return url.update_query_dict({"sslmode": "disable"})  # libpq would try, and verify nothing
    if mode == "disable":
        return url
    trusted = url.query.get("sslrootcert") or authorities_file(ca_file, CA_SETTING) or "system"
    return url.update_query_dict({"sslmode": "verify-full", "sslrootcert": trusted})


def has_tls(url: sa.URL) -> bool:
    return url.query.get("sslmode") == "verify-full"


def tls_fault(text: str, url: sa.URL) -> str:
    """The meaning of libpq's error about a certificate, or "" for any other error.

    Args:
        text: its error, in English; in another language the server counts as away.
    """
    if _NO_TLS_THERE in text:
        return "the server does not speak TLS; where the network is trusted, add ?sslmode=disable"
    if any(words in text for words in _WANTS_TLS):
        return "the server does not let this user in without TLS, if at all; write sslmode=verify-full"
    if not has_tls(url) or _CERTIFICATE not in text:
        return ""
    trusted = str(url.query.get("sslrootcert", ""))
    fault = find_fault(url.host or "", url.port or _DEFAULT_PORT, trusted, CA_SETTING, postgres=True)
    return fault or "its TLS certificate was refused"


def _is_this_machine(url: sa.URL) -> bool:
    if "host" in url.query or "hostaddr" in url.query:
        return False
    try:
        return ipaddress.ip_address(url.host or "127.0.0.1").is_loopback
    except ValueError:
        return url.host == "localhost"
