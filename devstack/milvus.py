"""A Milvus standalone server with etcd and storage inside it, from the Python package `milvus`."""

import json
import lzma
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from devstack import http
from devstack.errors import StackError
from devstack.process import ProcessId, wait_until
from devstack.service import Service

VERSION = "2.3.5"

_VENV = Path(__file__).resolve().parents[1] / ".venv-milvus"  # its own: the package is not for importing
_UNPACKED = _VENV / f"server-{VERSION}"
_RUN_FOLDERS = ("/run/milvus", "/tmp/milvus")  # noqa: S108 - where the server leaves files; not to be chosen
_RECOVERY_S = 5.0
TOKEN = "root:Milvus"  # noqa: S105 - of every new server; this version takes no other from its file
_ROLES = ("rootCoord", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode")

# Only the values that differ from the server's defaults.
_CONFIG = """\
etcd:
  use: {{embed: true}}
  endpoints: 127.0.0.1:{etcd}
  config: {{path: {home}/configs/etcd.yaml}}  # the only place for its second port, 2380 by default
  data: {{dir: {home}/data/etcd}}
  log: {{level: error, path: {home}/etcd.log}}
localStorage: {{path: {home}/data}}
common:
  storageType: local  # files, not MinIO
  # After a crash the new server waits until the old one's sessions expire: 15 s until collections are loaded
  # again, not 40. The price: a server that was frozen for longer than this does not recover by itself.
  session: {{ttl: 10}}
  security: {{authorizationEnabled: true}}  # as deploy/make_secrets.py has it, so that tests show a token
mq: {{type: rocksmq}}  # inside the server, not Pulsar
rocksmq: {{path: {home}/data/rocksmq}}
log: {{level: error}}  # the default writes several lines for each request
proxy: {{ip: 127.0.0.1, port: {grpc}, internalPort: {internal}}}
"""
# Without an address the parts find each other through the machine's first outward one, which can change.
_ROLE = "{role}: {{ip: 127.0.0.1, port: {port}}}\n"

_ETCD_CONFIG = """\
listen-client-urls: http://127.0.0.1:{etcd}
advertise-client-urls: http://127.0.0.1:{etcd}
listen-peer-urls: http://127.0.0.1:{etcd_peer}
initial-advertise-peer-urls: http://127.0.0.1:{etcd_peer}
initial-cluster: default=http://127.0.0.1:{etcd_peer}
"""


class Milvus(Service):
    name: ClassVar[str] = "milvus"
    # Its orderly end does not come (it waits for its own coordinators, which have gone before), and it loses
    # nothing by a SIGKILL, because acknowledged writes are in its log.
    stop_timeout_s: ClassVar[float] = 0.2

    @classmethod
    def missing(cls) -> str | None:
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            return "the Milvus server package is for Linux on x86-64 only"
        return None if (_UNPACKED / "milvus").exists() else f"Milvus {VERSION} is not installed in {_VENV}"

    def _prepare(self) -> None:
        self._take_ports("grpc", "internal", "health", "etcd", "etcd_peer", *_ROLES)
        (self.home / "configs").mkdir()
        (self.home / "data").mkdir()
        roles = "".join(_ROLE.format(role=role, port=self.ports[role]) for role in _ROLES)
        self._write("milvus.yaml", _CONFIG.format(home=self.home, **self.ports) + roles)
        self._write("etcd.yaml", _ETCD_CONFIG.format(**self.ports))
        self._write("glog.conf", "--logtostderr=true\n--minloglevel=2\n")  # without this file it crashes

        self._record.places = {folder: f"{folder}/standalone-{self._alias}.pid" for folder in _RUN_FOLDERS}

    @property
    def _alias(self) -> str:
        return f"pictor-{self.ports['grpc']}"

    def _write(self, name: str, text: str) -> None:
        (self.home / "configs" / name).write_text(text)

    def _launch(self) -> None:
        if self._is_running() and not wait_until(self.answers, _RECOVERY_S):
            self.kill()  # frozen for longer than its sessions live, it stays abnormal until started anew
        _open_to_all_users(Path(_RUN_FOLDERS[1]))
        started = self._spawn(
            "server",
            # All servers of a machine write the same pid file unless they have an alias.
            [str(_UNPACKED / "milvus"), "run", "standalone", "--alias", self._alias],
            DEPLOY_MODE="STANDALONE",
            METRICS_PORT=str(self.ports["health"]),
            LD_LIBRARY_PATH=str(_UNPACKED),
        )
        if started:
            self._remember_files_of(started)
        self._wait(self.answers, "server")

    def _is_running(self) -> bool:
        return any(process.is_alive() for process in self.processes.values())

    def _remember_files_of(self, server: ProcessId) -> None:
        for folder in _RUN_FOLDERS:
            self._record.places[f"{folder} {server.pid}"] = f"{folder}/server_id_{server.pid}"
        self._save()

    def answers(self) -> bool:
        return self.is_prepared and self._is_healthy() and self._lists_collections()

    def _is_healthy(self) -> bool:
        return http.get(f"http://127.0.0.1:{self.ports['health']}/healthz") == "OK"

    def _lists_collections(self) -> bool:
        answer = http.get(f"{self.uri}/v1/vector/collections", token=TOKEN)
        return answer is not None and json.loads(answer).get("code") == 200

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.ports['grpc']}"

    def variables(self) -> dict[str, str]:
        return {
            "PICTOR_MILVUS_URI": self.uri,
            "PICTOR_MILVUS_TOKEN": TOKEN,
            "PICTOR_TEST_MILVUS_URI": self.uri,
            "PICTOR_TEST_MILVUS_TOKEN": TOKEN,
        }


def _open_to_all_users(folder: Path) -> None:
    """The server writes there whoever runs it; the first user of the machine would lock out the others."""
    folder.mkdir(exist_ok=True)
    with suppress(PermissionError):  # somebody else's, who has opened it or not
        folder.chmod(0o1777)


def install() -> None:
    """Get the package and unpack its server, once for all stacks. Needs no root. Safe to run twice."""
    if Milvus.missing() is None:
        return
    if not (_VENV / "bin" / "python").exists():
        _check([sys.executable, "-m", "venv", str(_VENV)])
    pip = [str(_VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _check([*pip, f"milvus=={VERSION}"])
    _unpack()


def _unpack() -> None:
    packed = next(_VENV.glob("lib/python3*/site-packages/milvus/data/bin"))
    half = _UNPACKED.with_suffix(".half")  # renamed when complete, so that an interrupted run leaves no half
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    for file in packed.glob("*.lzma"):
        with lzma.open(file) as source, (half / file.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
        (half / file.stem).chmod(0o755)
    half.rename(_UNPACKED)


def _check(argv: list[str]) -> None:
    if subprocess.run(argv, check=False).returncode != 0:
        raise StackError(f"failed: {' '.join(argv)}")
