"""An S3 server: Ceph's RADOS Gateway with one monitor and one storage daemon, from Debian's packages.

A production server, not an emulator: it checks signatures, knows two users and gives S3's error codes.
Objects are kept in the memory of the storage daemon. So stop, kill and freeze act on the gateway alone, which
is all that a client sees; the daemons behind it end with discard().
"""

import json
import shutil
import uuid
from typing import ClassVar

from devstack import http
from devstack.errors import StackError
from devstack.process import ProcessId
from devstack.service import Service

_PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool")
_SEARCH_PATH = "/usr/bin:/usr/sbin:/bin:/sbin"
_USERS = ("first", "second")  # the second is for AccessDenied: a wrong secret is another error in S3
_CAPS = {"first": "--caps=users=*;user-policy=*"}  # may make users for the roles of workers

_CONFIG = """\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{monitor}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
# No keys between the daemons: they listen on loopback only. Clients of S3 are checked all the same.
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
keyring = /dev/null
# The default, secure, needs keys: the gateway would wait for 300 s and give up.
ms_mon_client_mode = crc
# Half the ports: nothing here speaks the old protocol.
ms_bind_msgr1 = false
# Below 32768, from where Linux takes the ports of outgoing connections.
ms_bind_port_min = 32000
ms_bind_port_max = 32700
run_dir = {home}
# None: the path of a socket may have 107 characters, ours can be longer.
admin_socket =
log_file = {home}/$name.log
mon_cluster_log_file = {home}/cluster.log
crash_dir = {home}
# A gateway without a cluster fails within a test's patience, not after 300 s.
client_mount_timeout = 20
# After a crash of the gateway the first new bucket waits until the storage has given up the dead one: 3 s,
# not 30.
osd_client_watch_timeout = 3
objecter_tick_interval = 1
# One storage daemon: one copy of everything, few placement groups, no second host to wait for.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
[mon]
mon_data = {home}/mon
# Refuse to run at 1 % of free disk, not at 5: developers' disks are full.
mon_data_avail_crit = 1
# 13 s of start-up become 2.
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
[osd]
osd_data = {home}/osd
# In memory: twice as fast as files, and started in a third of the time. Takes 3 bytes for each byte stored.
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_memory_target = 939524096
[client]
rgw_frontends = beast endpoint=127.0.0.1:{s3} tcp_nodelay=1
rgw_data = {home}
rgw_init_timeout = 60
rgw_rados_pool_pg_num_min = 4
# The default of 512 threads costs memory; tests use tens of connections.
rgw_thread_pool_size = 64
# One zone, and test buckets are small: nothing to synchronise, nothing to split.
rgw_run_sync_thread = false
rgw_dynamic_resharding = false
rgw_override_bucket_index_max_shards = 1
rgw_data_log_num_shards = 1
rgw_md_log_max_shards = 1
"""


class Ceph(Service):
    name: ClassVar[str] = "s3"
    stop_timeout_s: ClassVar[float] = 3.0  # an orderly end waits until its clients have hung up, up to 120 s

    @classmethod
    def missing(cls) -> str | None:
        absent = [program for program in _PROGRAMS if not shutil.which(program, path=_SEARCH_PATH)]
        if not absent:
            return None
        return f"no {', '.join(absent)} (Debian packages radosgw, ceph-mon and ceph-osd)"

    def _prepare(self) -> None:
        self._take_ports("s3", "monitor")
        self._record.secrets = {"fsid": str(uuid.uuid4()), "osd": str(uuid.uuid4())}
        (self.home / "ceph.conf").write_text(
            _CONFIG.format(home=self.home, fsid=self._record.secrets["fsid"], **self.ports)
        )
        (self.home / "osd").mkdir()
        self._make_cluster()

    def _make_cluster(self) -> None:
        fsid, osd = self._record.secrets["fsid"], self._record.secrets["osd"]
        monitor = f"[v2:127.0.0.1:{self.ports['monitor']}]"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", monitor, f"{self.home}/monmap")
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{self.home}/monmap")
        self._start_daemon("monitor", "ceph-mon", "-i", "a")
        self._run("ceph", "osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._start_daemon("storage", "ceph-osd", "-i", "0")
        for user in _USERS:
            self._make_user(user)

    def _make_user(self, user: str) -> None:
        """Its keys are Ceph's choice: given as arguments, every user of the machine could see them."""
        command = [
            *self._command("radosgw-admin"),
            "user",
            "create",
            f"--uid={user}",
            f"--display-name={user}",
            *filter(None, [_CAPS.get(user)]),
        ]
        self._launch_of(command, f"user-{user}").run()
        log = self.home / f"user-{user}.log"
        text = log.read_text()
        log.unlink()
        [key] = json.loads(text[text.index("{") : text.rindex("}") + 1])["keys"]
        for kind in ("access", "secret"):
            self._record.secrets[f"{user}_{kind}_key"] = key[f"{kind}_key"]

    def _launch(self) -> None:
        behind = (self.processes["monitor"], self.processes["storage"])
        if not all(process.is_alive() for process in behind):
            raise StackError("s3: the daemons behind the gateway ended, the objects with them; discard it")
        self._start_daemon("gateway", "radosgw", "-n", "client.rgw")
        self._wait(self.answers, "gateway")

    def _start_daemon(self, process: str, program: str, *options: str) -> None:
        self._spawn(process, [*self._command(program), "-f", *options])  # in the foreground: its pid is ours

    def _run(self, program: str, *arguments: str) -> None:
        self._launch_of([*self._command(program), *arguments], "setup").run()

    def _command(self, program: str) -> list[str]:
        if program == "monmaptool":  # takes "-c" for "--create"
            return [program, "--conf", f"{self.home}/ceph.conf"]
        return [program, "-c", f"{self.home}/ceph.conf"]

    def _targets(self) -> list[ProcessId]:
        return [process for name, process in self.processes.items() if name == "gateway"]

    def answers(self) -> bool:
        return "s3" in self.ports and http.get(f"{self.endpoint}/") is not None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    def variables(self) -> dict[str, str]:
        access_key, secret_key, access_key2, secret_key2 = (
            self._record.secrets[f"{user}_{kind}_key"] for user in _USERS for kind in ("access", "secret")
        )
        return {
            "PICTOR_S3_ENDPOINT": self.endpoint,
            "PICTOR_S3_ACCESS_KEY": access_key,
            "PICTOR_S3_SECRET_KEY": secret_key,
            # Under the names that every S3 tool knows.
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "CEPH_CONF": f"{self.home}/ceph.conf",  # for radosgw-admin, which makes users and keys
            "PICTOR_TEST_S3_ACCESS_KEY2": access_key2,
            "PICTOR_TEST_S3_SECRET_KEY2": secret_key2,
        }
