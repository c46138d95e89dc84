"""TLS as a client: whom we trust, and the fault of a server's certificate in our words.

Nothing here verifies less than everything. Without TLS one connects by a URL that says so.
"""

import socket
import ssl
from pathlib import Path

from pipeline.errors import ConfigError

SYSTEM = "system"  # for one service, where PICTOR_CA_FILE names an authority for the others
PROBE_TIMEOUT_S = 5.0

_POSTGRES_ASKS_FOR_TLS = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")

# OpenSSL's numbers (X509_V_ERR_…), which stay the same where its texts change.
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAME = {62, 64}  # of a host, of an address
_NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}


def client_context(ca_file: str, setting: str) -> ssl.SSLContext:
    """A context that asks for a certificate, its authority and its name.

    Args:
        ca_file: PEM file of the authorities to trust. "" or `system` are those of this machine.
        setting: the variable that names the file, for messages.

    Raises:
        ConfigError: the file cannot be read, or holds no certificate.
    """
    path = "" if ca_file == SYSTEM else ca_file
    try:
        return ssl.create_default_context(cafile=path or None)
    except ssl.SSLError as err:
        raise ConfigError(f"{setting}: file {path} holds no certificate; a PEM file is expected") from err
    except OSError as err:
        raise ConfigError(f"{setting}: file {path} cannot be read: {err.strerror}") from err


def authorities_file(ca_file: str, setting: str) -> str:
    """The file to give to a client that takes no context: the given one, checked, or the machine's.

    Returns:
        "" where this machine has no such file.

    Raises:
        ConfigError: as `client_context`.
    """
    if ca_file in ("", SYSTEM):
        return ssl.get_default_verify_paths().cafile or ""
    client_context(ca_file, setting)
    return str(Path(ca_file).resolve())


def explain_tls(err: BaseException, host: str, setting: str) -> str:
    """A fault that stays until somebody mends it, to stand behind the name of a service; else "".

    A connection that breaks in the middle of a handshake is no such fault.
    """
    if isinstance(err, ssl.SSLError) and getattr(err, "reason", "") in _NO_TLS:
        return "does not speak TLS; is this its port for TLS?"
    if not isinstance(err, ssl.SSLCertVerificationError):
        return ""
    match err.verify_code:
        case code if code in _OTHER_NAME:
            return f"its TLS certificate is for another name than {host}"
        case code if code == _EXPIRED:
            return "its TLS certificate has expired"
        case code if code == _NOT_YET_VALID:
            return "its TLS certificate is not valid yet; is the clock right?"
        case _:
            return f"its TLS certificate is of an unknown issuer; name the authority's file in {setting}"


def find_fault(host: str, port: int, ca_file: str, setting: str, *, postgres: bool = False) -> str:
    """Ask a server for its certificate, for a client that does not say why it refused.

    Args:
        postgres: it speaks its own protocol until it is asked for TLS.

    Returns:
        As `explain_tls`. "" where nothing is wrong with the certificate, or the server is away.
    """
    context = client_context(ca_file, setting)
    try:
        with socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S) as connection:
            if postgres:
                connection.sendall(_POSTGRES_ASKS_FOR_TLS)
                if connection.recv(1) != b"S":
                    return ""
            with context.wrap_socket(connection, server_hostname=host):
                return ""
    except ssl.SSLError as err:
        return explain_tls(err, host, setting)
    except OSError:
        return ""
