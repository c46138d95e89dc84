"""A PostgreSQL server from Debian's package, with its own data directory."""

import os
import pwd
import secrets
import shutil
import signal
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from devstack.errors import StackError
from devstack.process import Launch, wait_until
from devstack.service import Service

_VERSIONS = Path("/usr/lib/postgresql")
_DATABASE = "pictor"

_CONFIG = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''        # TCP only: a socket's path may have 107 characters, ours can be longer
dynamic_shared_memory_type = mmap   # in the data directory: a killed server leaves nothing in /dev/shm
fsync = off                         # data must outlive the process, not the machine
"""


class Postgres(Service):
    name: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # SIGTERM waits until the last client has gone

    @classmethod
    def missing(cls) -> str | None:
        return None if _program_dir() else "PostgreSQL is not installed (Debian package postgresql)"

    def _prepare(self) -> None:
        self._take_ports("postgres")
        self._record.secrets = {"user": "pictor", "password": secrets.token_hex(16)}
        self._record.places = {"data": str(_data_dir(self.home, _server_user()))}
        self._save()
        self._initialise(Path(self._record.places["data"]))

    def _initialise(self, data: Path) -> None:
        password = data / "password"  # a file: an argument is visible to every user of the machine
        password.write_text(self._record.secrets["password"])
        user = _server_user()
        if user:
            shutil.chown(data, user)
            shutil.chown(password, user)
        options = [
            f"--pgdata={data}/db",
            f"--username={self._record.secrets['user']}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",  # the default, trust, lets in every user of the machine
            "--encoding=UTF8",
            "--no-locale",  # byte order, the same on every machine
            "--no-sync",
        ]
        self._as_server([_program("initdb"), *options], "initdb").run()
        password.unlink()
        with (data / "db" / "postgresql.conf").open("a") as config:
            config.write(_CONFIG.format(port=self.ports["postgres"]))

    def _launch(self) -> None:
        data = Path(self._record.places["data"])
        self._remove_dead_lock(data / "db")
        self._spawn("server", [_program("postgres"), "-D", f"{data}/db"], _server_user())
        self._wait(lambda: self._accepts("postgres"), "server")
        if not self._accepts(_DATABASE):
            self._sql("postgres", f"CREATE DATABASE {_DATABASE}").run()

    def _remove_dead_lock(self, data: Path) -> None:
        """PostgreSQL takes the zombie of a killed server for a living one; some containers reap none."""
        server = self.processes.get("server")
        if server is None or server.is_alive():
            return
        # Its children end by themselves. Until then the lock is all that keeps a second server off the data.
        if wait_until(lambda: not _works_in(data), self.stop_timeout_s):
            (data / "postmaster.pid").unlink(missing_ok=True)

    def answers(self) -> bool:
        return self.is_prepared and self._accepts(_DATABASE)

    def _accepts(self, database: str) -> bool:
        try:
            self._sql(database, "SELECT 1").run(timeout_s=5)
        except StackError:
            return False
        return True

    def _sql(self, database: str, statement: str) -> Launch:
        argv = [_program("psql"), "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", "--command", statement]
        return self._launch_of(
            argv,
            "psql",
            PGHOST="127.0.0.1",
            PGPORT=str(self.ports["postgres"]),
            PGUSER=self._record.secrets["user"],
            PGPASSWORD=self._record.secrets["password"],
            PGDATABASE=database,
            PGCONNECT_TIMEOUT="3",
        )

    def _as_server(self, argv: list[str], log: str) -> Launch:
        return self._launch_of(argv, log, _server_user())

    def url(self, database: str) -> str:
        login = "{user}:{password}".format(**self._record.secrets)
        return f"postgresql+psycopg://{login}@127.0.0.1:{self.ports['postgres']}/{database}"

    @property
    def ledger_url(self) -> str:
        return self.url(_DATABASE)

    @property
    def admin_url(self) -> str:
        """The server's own database, from which tests make and drop databases."""
        return self.url("postgres")

    def variables(self) -> dict[str, str]:
        return {"PICTOR_LEDGER_URL": self.ledger_url, "PICTOR_TEST_POSTGRES_URL": self.admin_url}


def _works_in(folder: Path) -> bool:
    """Whether a process has this working directory, as all of a PostgreSQL server's have."""
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if link.readlink() == folder:
                return True
    return False


def _program_dir() -> Path | None:
    """The newest version's programs; they are not on the PATH."""
    found = [path.parent for path in _VERSIONS.glob("*/bin/initdb")]
    return max(found, key=lambda path: float(path.parent.name), default=None)


def _program(name: str) -> str:
    return str((_program_dir() or Path()) / name)


def _server_user() -> str | None:
    """PostgreSQL refuses to run as root; its package makes this user. Everybody else is themselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


def _data_dir(home: Path, user: str | None) -> Path:
    """A directory for the data, below home where `user` can get there, else among the temporary files."""
    closed = [path for path in (home, *home.parents) if not path.stat().st_mode & stat.S_IXOTH]
    if user and closed:
        return Path(tempfile.mkdtemp(prefix="pictor-postgres-"))
    data = home / "data"
    data.mkdir(mode=0o700)
    return data
