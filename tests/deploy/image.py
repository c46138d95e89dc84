"""The Dockerfile without an engine: its steps carried out in roots of their own, the result run as a pod is.

A root is this machine's /usr, /etc and Python under layers that take what a step writes, in a mount and
process namespace. RUN lines go to a shell as they are, but for one: packages are not fetched again. They are
taken, for reading only, from the virtual environment that the tests run in, of the same pinned versions.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.deploy.dockerfile import Step, parse, stages, steps_of

NEEDED = ("unshare", "setpriv", "chroot", "useradd", "mount")
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_PACKAGES = Path(sysconfig.get_paths()["purelib"])
_LAYERS = {"usr": "/usr", "usr/local": sys.base_prefix, "etc": "/etc"}  # by their place: what lies beneath
_DEVICES = {"null": 3, "zero": 5, "urandom": 9}
_TOP = ("opt", "src", "run", "proc", "dev", "tmp", "packages", "root", "usr", "etc", "var/tmp")


def missing_for_images() -> str | None:
    """Why no root can be made here, or None."""
    if os.geteuid() != 0:
        return "roots of their own need root"
    absent = [name for name in NEEDED if not shutil.which(name)]
    if absent:
        return f"no {', '.join(absent)}"
    probe = _namespace("mount -t tmpfs tmpfs /mnt")
    return None if probe.returncode == 0 else f"no mounts here: {probe.stderr.strip()}"


@dataclass
class Stage:
    """What a stage has become: its layers on disk, and what later commands are told."""

    folder: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)

    @property
    def top(self) -> Path:
        return self.folder / "top"


class Image:
    """One target, built below a folder."""

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        self._built: dict[str, Stage] = {}
        self.stage = self._build(target, parse())

    def command(
        self, arguments: Sequence[str], *, scratch: Path, secrets: Path, env: Mapping[str, str]
    ) -> list[str]:
        """Runs the entry point as its user, as process 1, with a root that is only read."""
        stage = self.stage
        scratch.mkdir(parents=True, exist_ok=True)
        user, group = stage.user.split(":")
        os.chown(scratch, int(user), int(group))
        scratch.chmod(0o700)
        root = self._folder / "root"
        root.mkdir(exist_ok=True)
        (stage.top / "run" / "secrets").mkdir(exist_ok=True)
        variables = [f"{name}={value}" for name, value in (stage.env | dict(env)).items()]
        drop = f"--reuid={user} --regid={group} --clear-groups {_NO_PRIVILEGES}"
        script = [
            *_mounts(stage, root, writable=False),
            f"mount --bind {scratch} {root}/scratch",
            f"mount --bind {secrets} {root}/run/secrets && mount -o remount,ro,bind {root}/run/secrets",
            f"mount -o remount,ro,bind {root}",
            f"exec env -i {shlex.join(variables)} chroot {root} setpriv {drop} env --chdir={stage.workdir} "
            f"{shlex.join([*stage.entrypoint, *arguments])}",
        ]
        return [*_NAMESPACE, "sh", "-c", "\n".join(["set -eu", *script])]

    def _build(self, target: str, steps: Sequence[Step]) -> Stage:
        stage = Stage(folder=self._folder / target)
        stage.top.mkdir(parents=True)
        for name in _TOP:
            (stage.top / name).mkdir(parents=True)
        for name in ("bin", "lib", "lib64", "sbin"):
            (stage.top / name).symlink_to(f"usr/{name}")
        script: list[str] = []
        root = stage.folder / "root"
        root.mkdir()
        for step in steps_of(target, list(steps)):
            script += self._commands(step, stage, root, steps)
        done = _namespace("\n".join([*_mounts(stage, root, writable=True), *_like_the_base(root), *script]))
        if done.returncode != 0:
            raise AssertionError(f"stage {target}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return stage

    def _commands(self, step: Step, stage: Stage, root: Path, steps: Sequence[Step]) -> list[str]:
        """What one step asks for, as lines of shell."""
        match step.name:
            case "RUN":
                text = _INSTEAD_OF_FETCHING if "-c constraints.txt" in step.text else step.text
                env = shlex.join(f"{name}={value}" for name, value in stage.env.items())
                inside = f"cd {stage.workdir} && {text}"
                return [f"env -i {env} PIP_NO_BUILD_ISOLATION=0 chroot {root} sh -ec {shlex.quote(inside)}"]
            case "COPY":
                return [self._copy(step, stage, root, steps)]
            case "ENV":
                for word in step.words:
                    name, _, value = word.partition("=")
                    stage.env[name] = value.replace("$PATH", stage.env["PATH"])
            case "WORKDIR":
                stage.workdir = step.text
                return [f"mkdir -p {root}{step.text}"]
            case "USER":
                stage.user = step.text
            case "ENTRYPOINT":
                stage.entrypoint = shlex.split(step.text.strip("[]").replace(",", " "))
            case "FROM" | "ARG" | "LABEL" | "CMD":
                pass
            case other:
                raise AssertionError(f"{other} is not understood here")
        return []

    def _copy(self, step: Step, stage: Stage, root: Path, steps: Sequence[Step]) -> str:
        *sources, to = step.words
        if sources[0].startswith("--from="):
            other = sources.pop(0).removeprefix("--from=")
            assert other in stages(list(steps))
            built = self._built.get(other) or self._build(other, steps)
            self._built[other] = built
            return f"cp -aT {built.top}{sources[0]} {root}{to}"
        where = f"{root}{stage.workdir}/{to}"
        flags = "-r" if to.endswith("/") else "-rT"
        return f"cp {flags} {' '.join(str(REPOSITORY / source) for source in sources)} {where}"


# The base image's Python is /usr/local's own; the packages of the tests' environment are found behind the
# image's own ones, so that what the next step installs comes first.
_INSTEAD_OF_FETCHING = "echo /packages > /opt/pictor/lib/python3.11/site-packages/packages.pth"

_NO_PRIVILEGES = "--no-new-privs --bounding-set=-all --inh-caps=-all"
_NAMESPACE = ("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--propagation=private")


def _namespace(script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*_NAMESPACE, "sh", "-ec", script], capture_output=True, text=True, timeout=300, check=False
    )


def _mounts(stage: Stage, root: Path, *, writable: bool) -> list[str]:
    lines = [f"mount --bind {stage.top} {root}"]
    for place, beneath in _LAYERS.items():
        layer = stage.folder / place.replace("/", "-")
        (layer / "up").mkdir(parents=True, exist_ok=True)
        (layer / "work").mkdir(exist_ok=True)
        options = (
            f"lowerdir={beneath},upperdir={layer}/up,workdir={layer}/work"
            if writable
            else f"ro,lowerdir={layer}/up:{beneath}"
        )
        lines.append(f"mount -t overlay overlay -o {options} {root}/{place}")
    lines += [
        f"mount --bind {_PACKAGES} {root}/packages && mount -o remount,ro,bind {root}/packages",
        f"mount -t proc proc {root}/proc",
        f"mount -t tmpfs -o mode=0755 tmpfs {root}/dev && mkdir {root}/dev/shm",
        f"mount -t tmpfs -o size=64m,mode=1777 tmpfs {root}/dev/shm",  # as large as an engine makes it
        *(f"mknod -m 666 {root}/dev/{name} c 1 {minor}" for name, minor in _DEVICES.items()),
    ]
    return lines


def _like_the_base(root: Path) -> list[str]:
    """This machine's Python was installed elsewhere; its programs and its library know that place by name."""
    return [
        f"chroot {root} ldconfig",
        f"grep -lIrs '^#!{sys.base_prefix}/' {root}/usr/local/bin | "
        f"xargs -r sed -i '1s|^#!{sys.base_prefix}/|#!/usr/local/|'",
    ]
