"""A distributed system of its own for a test: real worker processes on the session's real services.

    with own_place(rabbitmq, s3_server, milvus_server, postgres, folder) as env, Fleet(env, folder) as fleet:
        fleet.init()
        fleet.start(queues="plan,search", name="planner").ready()
        embed = fleet.start(queues="embed", children=2).ready()
        job = fleet.wait_for_job(fleet.submit("s3://photos"), JobState.COMPLETED)
        embed.kill9()

Logs of every worker are in `folder`; their ends are part of each failure message.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from deploy.make_secrets import broker_permissions
from pipeline import wiring
from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.adapters.s3.store import S3Store
from pipeline.errors import PictorError
from pipeline.ports.model_binding import choose_model
from pipeline.settings import Settings
from pipeline.types import Job, JobState
from tests import warm_cli
from tests.broker import BrokerApi
from tests.conftest import REPOSITORY
from tests.contract.ledger_databases import run_on, with_database
from tests.index_rows import ids_in
from tests.s3_users import S3User, S3Users
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server
from workers.broker.queue_names import EMBED, PREPARE, ROLES, model_queue

READY_S = 180.0  # a worker imports torch; on a machine that runs several at once this has taken a minute
JOB_S = 180.0
POLL_S = 0.1
S3_IS_OURS = "PICTOR_TEST_S3_IS_OURS"  # so that the roles of workers can have users of their own there
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")


@contextmanager
def own_place(
    rabbitmq: RabbitMQServer,
    s3: S3Server,
    milvus: MilvusServer,
    postgres: PostgresServer,
    folder: Path,
    **more: str,
) -> Iterator[dict[str, str]]:
    """The environment of a system that shares servers with others and nothing else: a virtual host, a
    database, a staging bucket, a collection, a home. All but the bucket are gone afterwards.

    Args:
        more: further variables, such as PICTOR_PREPARATION="staged".
    """
    for server in (rabbitmq, s3, milvus, postgres):
        server.recover()
    name = f"t{secrets.token_hex(4)}"
    api = BrokerApi(rabbitmq.api_url)
    database = with_database(postgres.admin_url, name)
    api.make_vhost(name, urlsplit(rabbitmq.broker_url).username or "")
    run_on(postgres.admin_url, f"CREATE DATABASE {name}")
    env = {
        "PICTOR_BROKER_URL": urlsplit(rabbitmq.broker_url)._replace(path=f"/{name}").geturl(),
        "PICTOR_RABBITMQ_API": rabbitmq.api_url,
        "PICTOR_S3_ENDPOINT": s3.endpoint,
        "PICTOR_S3_ACCESS_KEY": s3.access_key,
        "PICTOR_S3_SECRET_KEY": s3.secret_key,
        "PICTOR_MILVUS_URI": milvus.uri,
        "PICTOR_MILVUS_TOKEN": milvus.token,
        "PICTOR_LEDGER_URL": database,
        "PICTOR_LEDGER_WORKER_URL": _with_login(database, f"{name}_worker"),
        "PICTOR_LEDGER_SERVICE_URL": _with_login(database, f"{name}_service"),
        "PICTOR_STAGING_BUCKET": f"{name}-staging",
        "PICTOR_COLLECTION": name,
        "PICTOR_HOME": str(folder / "home"),
        "PICTOR_RUN_DIR": str(folder / "run"),
        "PICTOR_BATCH_ITEMS": "16",
        "PICTOR_DEVICE": "cpu",
        "PICTOR_BACKEND": "torch",  # each fleet would try the backends anew
        S3_IS_OURS: "yes" if s3.service is not None else "",
        **more,
    }
    try:
        yield env
    finally:
        with suppress(PictorError), wiring.open_index(settings_of(env)) as index:
            for info in index.list_collections():
                if info.name.startswith(name):
                    index.drop_collection(info.name)
        with suppress(OSError):  # a test may have left the broker down
            api.drop_vhost(name)
        roles = [f"DROP ROLE IF EXISTS {name}_{role}" for role in ("worker", "service")]
        run_on(postgres.admin_url, f"DROP DATABASE {name} WITH (FORCE)", *roles)


def _with_login(url: str, user: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}:{secrets.token_hex(8)}@{parts.netloc.rpartition('@')[2]}").geturl()


class _GivenSettings(Settings):
    """Reads nothing but its arguments: the test session's own environment may name other servers."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def settings_of(env: Mapping[str, str]) -> Settings:
    """The settings that a process with this environment, and nothing else in it, reads."""
    given = {name.removeprefix("PICTOR_").lower(): value for name, value in env.items() if value}
    return _GivenSettings(**cast("dict[str, Any]", given))


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Raises AssertionError, saying `what` did not happen."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(POLL_S)


class Worker:
    """One `pictor worker` process and its children."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, folder: Path, log: Path) -> None:
        self.process = process
        self.name = name
        self.folder = folder  # with ready, heartbeat, stopped and a file for each warm child
        self.log_file = log

    def ready(self, timeout_s: float = READY_S) -> Self:
        """Wait until every child is warm."""
        deadline = time.monotonic() + timeout_s
        while not (self.folder / "ready").exists():
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} is not ready after {timeout_s:g} s:\n{self.log()}")
            time.sleep(POLL_S)
        return self

    def terminate(self, timeout_s: float = 60.0) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 60.0) -> int:
        """The exit code of a process that ends by itself."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} runs still after {timeout_s:g} s:\n{self.log()}") from None

    def kill9(self) -> None:
        """SIGKILL to the main process and to every child."""
        for pid in [self.process.pid, *self.pids()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        wait_until(lambda: not self.pids(), f"{self.name}'s processes are gone")

    def children_pids(self) -> list[int]:
        """Of the warm children that are alive, which do the work."""
        alive = set(self.pids())
        return sorted(
            pid for path in self.folder.glob("warm-*") if (pid := int(path.name.rpartition("-")[2])) in alive
        )

    def pids(self) -> list[int]:
        """Of every living process that was started for this worker, its own included."""
        marker = f"{MARKER}={self.folder}".encode()
        return [pid for pid in _all_pids() if marker in _environment_of(pid)]

    def log(self, lines: int = 40) -> str:
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])


def assert_refused(worker: Worker, *words: str, code: int = 2) -> None:
    """It ends by itself, with one line that says why and shows no secret."""
    assert worker.wait() == code, worker.log()
    [line] = [line for line in worker.log().splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in line
    assert "Traceback" not in worker.log()


MARKER = "PICTOR_TEST_WORKER"  # in the environment of a worker and its children: its folder


class Fleet:
    """Starts workers, talks to them and to their stores, and leaves no process behind."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self.env = dict(env)
        self.folder = folder
        self.settings = settings_of(self.env)
        self.workers: list[Worker] = []
        self.api = BrokerApi(self.env["PICTOR_RABBITMQ_API"])
        self.vhost = urlsplit(self.env["PICTOR_BROKER_URL"]).path.lstrip("/")
        self._is_initialised = False
        self._users: dict[str, str] = {}  # of the broker: URL by name
        self._s3_users: dict[str, S3User] = {}  # by name
        self._ledger: SqlLedger | None = None
        self._index: wiring.OpenIndex | None = None
        self._store: S3Store | None = None

    def __enter__(self) -> Self:
        self.broker_url("submit")  # while the broker is up
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None:
            print(self.logs())

    # Processes

    def init(self) -> None:
        done = self.pictor("init")
        assert done.returncode == 0, done.stderr
        self._is_initialised = True

    def start(
        self,
        *,
        queues: str,
        children: int = 1,
        name: str = "",
        extra_env: Mapping[str, str] | None = None,
    ) -> Worker:
        """Start a worker; `ready()` waits for it."""
        name = name or queues.replace(",", "-")
        folder = Path(self.env["PICTOR_RUN_DIR"]) / name
        log = self.folder / f"{name}-{len(self.workers)}.log"
        command = [sys.executable, "-m", "pipeline.cli", "worker", "--queues", queues]
        command += ["--children", str(children), "--name", name]
        with log.open("wb") as out:
            process = subprocess.Popen(
                # A test session that is killed must not leave workers behind.
                ["setpriv", "--pdeathsig", "KILL", *command],
                cwd=REPOSITORY,
                env=self._environment({MARKER: str(folder), **self._users_of(queues), **(extra_env or {})}),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the test session
            )
        worker = Worker(process, name, folder, log)
        self.workers.append(worker)
        return worker

    def terminate(self) -> list[int]:
        """SIGTERM to every worker that runs still; their exit codes."""
        running = self.running()
        for worker in running:
            worker.process.terminate()
        return [worker.wait() for worker in running]

    def running(self) -> list[Worker]:
        """Of all that were started. Tests that share a fleet also start workers that are refused."""
        return [worker for worker in self.workers if worker.process.poll() is None]

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to what is left."""
        with suppress(AssertionError):
            self.terminate()
        for worker in self.workers:
            if worker.pids() or worker.process.poll() is None:
                worker.kill9()
        for user in self._users:
            with suppress(OSError):  # a test may have left the broker down
                self.api.drop_user(user)
        for user in self._s3_users:
            with suppress(OSError):
                self._s3_admin.drop(user)
        self._users.clear()
        self._s3_users.clear()
        for opened in (self._ledger, self._index, self._store):
            if opened is not None:
                opened.close()
        self._ledger, self._index, self._store = None, None, None

    def pictor(
        self, *arguments: str, timeout_s: float = 120.0, extra_env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        env = self._environment(extra_env or {})
        if "PYTHONPATH" in env:  # its hook is found by a process that starts from nothing
            return self._run(["-m", "pipeline.cli", *arguments], env, timeout_s)
        return warm_cli.run(arguments, env=env, cwd=str(REPOSITORY), timeout_s=timeout_s)

    def run_script(self, path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the project's scripts to its end."""
        return self._run([path, *arguments], self._environment({"PYTHONPATH": str(REPOSITORY)}), 120.0)

    def begin(self, *arguments: str, extra_env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start one command, and read what it says while it runs."""
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "pipeline.cli", *arguments],
            cwd=REPOSITORY,
            env=self._environment(extra_env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def pictor_json(self, *arguments: str) -> list[dict[str, Any]]:
        """The JSON lines that a command which must succeed prints."""
        done = self.pictor(*arguments, "--json")
        assert done.returncode == 0, f"pictor {' '.join(arguments)}: {done.stderr}\n{self.logs()}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def logs(self, lines: int = 40) -> str:
        return "\n".join(f"--- {worker.name}\n{worker.log(lines)}" for worker in self.workers)

    # Work

    def submit(self, source: str, **options: Any) -> str:
        """Submit a job as an upstream service does. Returns its id."""
        from workers.client import PictorClient

        with PictorClient(self.broker_url("submit")) as client:
            return client.ingest(source, **options)

    def job(self, job_id: str) -> Job | None:
        """None while no worker has made it, and while the database is away."""
        with suppress(PictorError):
            return self.ledger.get_job(job_id)
        return None

    def wait_for_job(self, job_id: str, *states: JobState, timeout_s: float = JOB_S) -> Job:
        """Wait until the job is in one of `states`; default: at an end of whatever kind."""
        wanted = states or (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)
        deadline = time.monotonic() + timeout_s
        while True:
            job = self.job(job_id)
            if job is not None and job.state in wanted:
                return job
            if time.monotonic() > deadline:
                raise AssertionError(f"{job_id} not {wanted} in {timeout_s:g} s: {job}\n{self.logs()}")
            time.sleep(POLL_S)

    def put_all(self, bucket: str, bodies: Mapping[str, bytes]) -> None:
        self.store.make_bucket(bucket)
        for key, body in bodies.items():
            self.store.put(bucket, key, body)

    # State to assert on

    @property
    def ledger(self) -> SqlLedger:
        self._ledger = self._ledger or wiring.open_ledger(self.settings)
        return self._ledger

    @property
    def index(self) -> wiring.OpenIndex:
        self._index = self._index or wiring.open_index(self.settings)
        return self._index

    @property
    def store(self) -> S3Store:
        self._store = self._store or wiring.open_s3(self.settings)
        return self._store

    def indexed_keys(self, collection: str = "") -> list[str]:
        live = self.index.live(collection or self.settings.collection, latest=True)
        ids = ids_in(self.index, live)
        return sorted(row.ref.key for row in self.index.get_rows(live, ids))

    def staged_keys(self) -> list[str]:
        return [ref.key for ref in self.store.list_objects(self.settings.staging_bucket)]

    def queue(self, role: str) -> str:
        """The queue of a role of workers; of `prepare` and `embed`, the one of this fleet's model."""
        if role not in (PREPARE, EMBED):
            return role
        return model_queue(role, self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        return wiring.load_model_spec(choose_model(self.settings.model, None), self.settings).fingerprint

    def messages(self, role: str) -> int:
        """Ready and unacknowledged. Exact only once nothing has moved for a while: see `wait_for_queue`."""
        return self.api.messages(self.vhost, self.queue(role))

    def wait_for_queue(self, role: str, count: int, timeout_s: float = 30.0) -> None:
        """Wait until the broker counts this many; it counts every few seconds."""
        try:
            wait_until(
                lambda: self.messages(role) == count, f"queue {self.queue(role)} holds {count}", timeout_s
            )
        except AssertionError as err:
            raise AssertionError(f"{err}, but {self.messages(role)}\n{self.logs()}") from None

    def broker_url(self, *users: str) -> str:
        """For somebody with the rights that `deploy/make_secrets.py` gives to these users together."""
        # Two fleets may share a virtual host, and each makes its own passwords.
        name = f"{self.vhost}.{'.'.join(users)}.{id(self):x}"
        if name not in self._users:
            password = secrets.token_hex(8)
            self.api.make_user(name, password, self.vhost, broker_permissions(*users))
            parts = urlsplit(self.env["PICTOR_BROKER_URL"])
            self._users[name] = parts._replace(
                netloc=f"{name}:{password}@{parts.hostname}:{parts.port}"
            ).geturl()
        return self._users[name]

    def _users_of(self, queues: str) -> dict[str, str]:
        """No worker has more rights than its roles need, once `pictor init` has made their users."""
        roles = queues.split(",")
        if not self._is_initialised or not set(roles) <= set(ROLES):
            return {}
        return {
            "PICTOR_BROKER_URL": self.broker_url(*roles),
            "PICTOR_LEDGER_URL": self.env["PICTOR_LEDGER_WORKER_URL"],
            **(self._s3_keys(*roles) if self.env.get(S3_IS_OURS) else {}),
        }

    def _s3_keys(self, *roles: str) -> dict[str, str]:
        name = f"{self.settings.collection}.{'.'.join(roles)}.{id(self):x}"
        if name not in self._s3_users:
            self._s3_users[name] = self._s3_admin.make(name, wiring.store_policy(self.settings, roles))
        user = self._s3_users[name]
        return {"PICTOR_S3_ACCESS_KEY": user.access_key, "PICTOR_S3_SECRET_KEY": user.secret_key}

    @property
    def _s3_admin(self) -> S3Users:
        return S3Users(*(self.env[f"PICTOR_S3_{name}"] for name in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY")))

    def _run(
        self, arguments: Sequence[str], env: Mapping[str, str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=dict(env),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        # One thread of torch for each child: they share the machine's cores.
        return passed | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | self.env | dict(more)


def _all_pids() -> Sequence[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _environment_of(pid: int) -> Sequence[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is somebody else's
        return ()
