"""Install missing packages. No service is started or stopped."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devstack import milvus, promtool
from devstack.ceph import Ceph
from devstack.errors import PackagesMissingError, StackError
from devstack.postgres import Postgres
from devstack.rabbitmq import RabbitMQ
from devstack.service import Service

_DEBIAN: dict[type[Service], tuple[str, ...]] = {
    RabbitMQ: ("rabbitmq-server",),
    Ceph: ("radosgw", "ceph-mon", "ceph-osd"),
    Postgres: ("postgresql",),
}
_GO_TLOG = Path("/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog")
_POLICY = Path("/usr/sbin/policy-rc.d")
_CLUSTERS = Path("/etc/postgresql-common/createcluster.conf")


def install() -> None:
    """Safe to run twice; takes no time when nothing is missing.

    Raises:
        PackagesMissingError: Debian packages are missing and we are not root; names the command to run.
    """
    milvus.install()
    wanted = [name for kind, names in _DEBIAN.items() if kind.missing() for name in names]
    if promtool.missing():
        wanted.append(promtool.PACKAGE)
    if shutil.which("curl") is None:
        wanted.append("curl")  # docs/how-to/operate.md asks the broker with it, and a test runs that page
    if shutil.which("chromium") is None:
        wanted.append("chromium")  # tests look at the pages of the service with it
    if shutil.which("go") is None:
        wanted.append("golang-go")  # tests have Go's packages check what the audit log publishes
    if not _GO_TLOG.is_dir():
        wanted.append("golang-golang-x-mod-dev")
    if not wanted:
        return
    if os.geteuid() != 0:
        raise PackagesMissingError(
            f"missing: {', '.join(wanted)}. Run once as root:\n"
            f"  cd {shlex.quote(os.getcwd())} && sudo {sys.executable} -m devstack install"  # noqa: PTH109
        )
    with ExitStack() as stack:
        stack.enter_context(_no_service_starts())
        if "postgresql" in wanted:
            stack.enter_context(_no_postgres_cluster())
        _apt_install(wanted)


def _apt_install(names: Sequence[str]) -> None:
    options = ["--yes", "--quiet=2", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
    try:
        _apt("install", *options, *names)
    except StackError:  # a fresh machine has no lists, an old one has lists of packages that are gone
        _apt("update", "--quiet=2")
        _apt("install", *options, *names)


def _apt(*arguments: str) -> None:
    argv = ["apt-get", *arguments]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackError(f"failed: {shlex.join(argv)}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """While it lasts, Debian's packages start none of their services. A policy that is there stays."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")  # 101: the action is forbidden
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


@contextmanager
def _no_postgres_cluster() -> Iterator[None]:
    """While it lasts, installing PostgreSQL makes no cluster of its own, which nobody here would use."""
    _apt_install(["postgresql-common"])  # owns the file: a file put there before would be a conflict
    before = _CLUSTERS.read_text()
    _CLUSTERS.write_text(before + "\ncreate_main_cluster = false\n")
    try:
        yield
    finally:
        _CLUSTERS.write_text(before)
