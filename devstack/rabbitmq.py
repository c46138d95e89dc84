"""One RabbitMQ node from Debian's package, with its own name, port mapper, ports and directories.

PICTOR_RABBITMQ_ROOT names the root of another Debian, whose RabbitMQ is run instead: a later one needs a
later libc. Have its `/tmp`, `/proc` and `/dev` mounted, and `localhost` in its `/etc/hosts`.
"""

import os
import secrets
import socket
from pathlib import Path
from typing import ClassVar

from devstack import http
from devstack.process import ProcessId
from devstack.service import Service

# Not /usr/sbin/rabbitmq-server: as root that one changes to the user of the system's own broker.
_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_ROOT = os.environ.get("PICTOR_RABBITMQ_ROOT", "")
_IN_ROOT = ["chroot", _ROOT] if _ROOT else []
_HELLO = b"AMQP\x00\x00\x09\x01"

_CONFIG = """\
listeners.tcp.default = 127.0.0.1:{amqp}    # the default is every interface
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {prometheus}
default_user = {user}                       # takes the place of guest, which then does not exist
default_pass = {password}
default_vhost = {vhost}
default_user_tags.administrator = true      # the tests manage policies and connections through the HTTP API
default_permissions.configure = .*
default_permissions.read = .*
default_permissions.write = .*
max_message_size = 16777216                 # as in 4.x, whose default is an eighth of that of 3.x
"""


class RabbitMQ(Service):
    name: ClassVar[str] = "rabbitmq"

    @classmethod
    def missing(cls) -> str | None:
        is_there = Path(f"{_ROOT}{_SERVER}").exists()
        return None if is_there else "RabbitMQ is not installed (Debian package rabbitmq-server)"

    def _prepare(self) -> None:
        self._take_ports("amqp", "management", "prometheus", "epmd", "distribution")
        self._record.secrets = {"user": "pictor", "password": secrets.token_hex(16), "vhost": "pictor"}
        (self.home / "rabbitmq.conf").write_text(_CONFIG.format(**self._record.ports, **self._record.secrets))
        (self.home / "rabbitmq.conf").chmod(0o600)
        (self.home / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")

    def _launch(self) -> None:
        # Our own port mapper, in the foreground: otherwise Erlang starts one as a daemon that outlives us.
        self._spawn("epmd", ["epmd", "-port", str(self.ports["epmd"]), "-address", "127.0.0.1"])
        self._wait(lambda: _connects(self.ports["epmd"]), "epmd")
        self._spawn("server", [*_IN_ROOT, str(_SERVER)], **self._server_environment())
        self._wait(self.answers, "server")

    def _server_environment(self) -> dict[str, str]:
        return {
            "detached": "true",  # the start script then becomes the server, so that its pid is the server's
            "RABBITMQ_NODENAME": f"pictor-{self.ports['amqp']}@localhost",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",  # not the system's broker's
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.home / "advanced.config"),  # absent: not the system's
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.home),
            "RABBITMQ_LOGS": "-",  # to standard output, which is our log file
            "RABBITMQ_PID_FILE": str(self.home / "server.pid"),
            "RABBITMQ_DIST_PORT": str(self.ports["distribution"]),
            "RABBITMQ_SCHEDULER_BIND_TYPE": "u",  # bound to cores, two stacks would fight for the first ones
            # Two schedulers are enough for tests and save memory on large machines.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self.ports["epmd"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP_BYTES": "0",  # none: they are as large as the heap
        }

    def _targets(self) -> list[ProcessId]:
        # Not the port mapper: it stands for a cluster's name service, which outlives a broker.
        return [process for name, process in self.processes.items() if name == "server"]

    def control(self, *arguments: str) -> None:
        """Run rabbitmqctl on this node. Raises StackError with its output."""
        node = self._server_environment()["RABBITMQ_NODENAME"]
        self._launch_of(
            [*_IN_ROOT, str(_SERVER.with_name("rabbitmqctl")), "--node", node, *arguments],
            "control",
            ERL_EPMD_PORT=str(self.ports["epmd"]),
        ).run()

    def answers(self) -> bool:
        return self.is_prepared and _greets(self.ports["amqp"]) and _vhosts_run(self.api_url)

    @property
    def broker_url(self) -> str:
        login = "{user}:{password}".format(**self._record.secrets)
        return f"amqp://{login}@127.0.0.1:{self.ports['amqp']}/{self._record.secrets['vhost']}"

    @property
    def api_url(self) -> str:
        login = "{user}:{password}".format(**self._record.secrets)
        return f"http://{login}@127.0.0.1:{self.ports['management']}/api/"

    @property
    def metrics_url(self) -> str:
        """Of the page that Prometheus scrapes; `/detailed` below it has a line for each queue."""
        return f"http://127.0.0.1:{self.ports['prometheus']}/metrics"

    def variables(self) -> dict[str, str]:
        return {
            "PICTOR_BROKER_URL": self.broker_url,
            "PICTOR_RABBITMQ_API": self.api_url,
            "PICTOR_RABBITMQ_METRICS": self.metrics_url,
        }


def _connects(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _greets(port: int) -> bool:
    """Whether the broker answers the protocol header with the method frame Connection.Start."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
            connection.sendall(_HELLO)
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def _vhosts_run(api_url: str) -> bool:
    answer = http.get(f"{api_url}health/checks/virtual-hosts")
    return answer is not None and '"status":"ok"' in answer
