"""Free loopback ports, held until the server that is to use them listens."""

import random
import socket

_PORTS = range(20000, 32000)  # below 32768, from where Linux takes the ports of outgoing connections
_ATTEMPTS = 200


class Reservation:
    """Ports that nobody else gets while this is held, not even another stack that starts at the same time.

    The ports are bound, not listened on. Probing binds without SO_REUSEADDR, so it fails on a port held
    here; a server binds with it, as every server does, so it gets the port that is held for it.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self) -> int:
        for _ in range(_ATTEMPTS):
            port = random.choice(_PORTS)  # noqa: S311 - a port is no secret
            if self._hold(port):
                return port
        raise OSError(f"no free port in {_PORTS.start}..{_PORTS.stop - 1} after {_ATTEMPTS} attempts")

    def release(self) -> None:
        while self._held:
            self._held.pop().close()

    def _hold(self, port: int) -> bool:
        probe = socket.socket()
        try:
            probe.bind(("", port))  # all interfaces: Milvus cannot be told to listen on one only
        except OSError:
            probe.close()
            return False
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.append(probe)
        return True
